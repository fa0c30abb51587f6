"""A method is the path that the probabilities take."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from numbers import Integral
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from lehr.base.errors import LehrError, require, unknown
from lehr.base.registry import Registry
from lehr.masks import Mask
from lehr.masks.budget import round_half_up
from lehr.masks.choice import best_n_of_m, fold_all, fold_groups, keep_best, spread_groups
from lehr.masks.selection import Scope
from lehr.sparsify.chance import Chance
from lehr.sparsify.shard import Shard

M = TypeVar("M", bound="Method")
Target = Literal["fixed", "moving"]
Realise = Literal["sample", "mean"]
NOTHING: Mapping[str, Tensor] = MappingProxyType({})
RESELECTIONS = 20  # how often a target is re-selected over the phase, unless told otherwise


class Method(ABC):
    """What the engine asks of a method, step by step.

    A method says how likely each weight is at step ``t`` (`chance`), and may choose its `target`
    again from the current weights (`retarget`). It holds no tensor that it can recompute. ``t``
    counts finished optimizer steps; annealing lasts `steps` of them, then P is the target.

    Args:
        mask: the target subnetwork.
        steps: length of the annealing phase, in optimizer steps; 0 is one-shot.
        target: ``"fixed"`` keeps the mask; ``"moving"`` re-selects it by current magnitude.
        scope: of a re-selection: ``"global"`` ranks all layers together, ``"layer"`` leaves each
            layer the number of weights that `mask` gives it.
        reselect_every: optimizer steps between re-selections; None for 20 over the phase.
        within: a former mask, which the network has already: weights outside it never take part, and are not
            chosen again; a density that falls starts at its density.
        realise: ``"sample"`` draws each weight in or out; ``"mean"`` multiplies it by P instead.
        redraw_every: optimizer steps that share one draw; 1 is a fresh draw for each.
        seed: of the draws and of ties.

    Raises:
        LehrError: an argument is out of its range, or `mask` and `within` do not fit.

    A new method is a subclass with a `name` and a `chance`:

    >>> class Half(Method):
    ...     name = "half"
    ...     def chance(self, t, shard):
    ...         return Chance(kept=1.0, rest=0.0 if self.finished(t) else 0.5)
    >>> half = Half(Mask({"weight": torch.tensor([[True, False]])}), steps=10)
    >>> half.progress(5), half.finished(10), half.due(10)
    (0.5, True, False)
    """

    name: ClassVar[str]
    all_weights: bool = False  # whether kept weights are drawn too
    clears: ClassVar[bool] = False  # whether weights outside the target are 0 all along; else they keep their values

    def __init__(
        self,
        mask: Mask,
        *,
        steps: int = 0,
        target: Target = "fixed",
        scope: Scope = "global",
        reselect_every: int | None = None,
        realise: Realise = "sample",
        within: Mask | None = None,
        redraw_every: int = 1,
        seed: int = 0,
    ) -> None:
        require(
            isinstance(steps, Integral) and steps >= 0, f"steps is {steps}: give the annealing length as a whole number"
        )
        if target not in ("fixed", "moving"):
            raise unknown("target", target, ["fixed", "moving"])
        if realise not in ("sample", "mean"):
            raise unknown("realisation", realise, ["sample", "mean"])
        if scope not in ("global", "layer"):
            raise unknown("scope", scope, ["global", "layer"])
        every = reselect_every if reselect_every is not None else max(1, steps // RESELECTIONS)
        require(every >= 1, f"reselect_every is {reselect_every}: give a number of optimizer steps, at least 1")
        require(redraw_every >= 1, f"redraw_every is {redraw_every}: give a number of optimizer steps, at least 1")
        if within is not None:
            other = sorted(set(mask) ^ set(within))
            require(
                not other,
                f"the mask and the one given as `within` (that of a parent which is sparse already) cover other layers "
                f"({', '.join(other[:3])}): choose from the same ones",
            )
            stray = (mask - within).kept
            require(stray == 0, f"the mask has {stray} weights outside the mask given as `within`: select with within=")
        self.initial = mask
        self.within = within
        self.target = mask
        self.steps = int(steps)
        self.moving = target == "moving"
        self.scope: Scope = scope
        self.reselect_every = every
        self.realise: Realise = realise
        self.redraw_every = redraw_every
        self.seed = seed
        self.mirrored = False

    def mirror(self: M) -> M:
        """The method whose every draw is the complement of that of this one's kind with the same seed and the mask ``~mask``.

        Both annealed at once, a weight takes part in exactly one of two networks at every step (anti-random pairs, 2202.11782).

        Raises:
            LehrError: kept weights are certain and others not, so that no complement is a draw of the method; or the target moves.
        """
        if self.steps and not self.all_weights:
            raise LehrError(
                f"draws of {self.name} with kept weights certain have no complement: set all_weights, or use one-shot"
            )
        require(
            not self.reselects and self.realise == "sample" and self.within is None,
            f"{self.name} is to be mirrored and its target moves, fades or is within a former mask: leave one out",
        )
        other = copy.copy(self)
        other.mirrored = True
        return other

    @property
    def schedule_density(self) -> float:
        """The density that paths go by: of a mirrored method that of the one it mirrors."""
        kept, size = self.initial.kept, self.initial.size
        return (size - kept if self.mirrored else kept) / size if size else 1.0

    # -- the path -----------------------------------------------------------------------------
    def progress(self, t: int) -> float:
        """``u`` in [0, 1] after t optimizer steps."""
        return min(1.0, t / self.steps) if self.steps else 1.0

    def finished(self, t: int) -> bool:
        """Whether the annealing phase is over."""
        return t >= self.steps

    @abstractmethod
    def chance(self, t: int, shard: Shard) -> Chance:
        """P for the shard of one parameter at step t, relative to `target`."""

    def density(self, t: int) -> float:
        """Density of the target at step t: constant, unless the method lets it fall."""
        return self.initial.density

    # -- the target ---------------------------------------------------------------------------
    @property
    def reselects(self) -> bool:
        """Whether the target changes on the way."""
        return self.moving

    @property
    def fills(self) -> bool:
        """Whether a layer that the given mask leaves empty has a weight before anything is cut: the target is chosen again over all layers."""
        return self.reselects and self.moving and self.scope == "global"

    def due(self, t: int) -> bool:
        """Whether the target is chosen again once t steps are done; the last time is at the end of the phase."""
        return self.reselects and t <= self.steps and (t % self.reselect_every == 0 or t == self.steps)

    def wants_gradients(self, t: int) -> bool:
        """Whether the target that is chosen after step t goes by the gradients of that step."""
        return False

    def retarget(self, t: int, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor] = NOTHING) -> None:
        """Choose `target` again by the magnitude of the current weights (full tensors by name).

        `gradients` are those of all weights, also of those that take no part, where `wants_gradients` asked for them.

        Weights that are out keep their value and compete with it. A layer is never emptied: its
        best weight stays. With a fixed target whose density falls, the target stays inside.
        """
        always = None if self.moving else self.initial
        density = self.density(t)
        self.target = select_by_magnitude(
            weights, self.initial, density, self.scope, always, self.seed, within=self.within
        )

    # -- state --------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """What cannot be recomputed: the target, when it moves, and under ``tensors`` what P goes by."""
        return {"method": self.name, "steps": self.steps, "target": self.target.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of the same method with the same length."""
        for field, mine in (("method", self.name), ("steps", self.steps)):
            if state.get(field) != mine:
                raise LehrError(
                    f"the saved state is of {field} {state.get(field)!r} and this is {mine!r}: they must agree"
                )
        target = Mask.from_state_dict(state["target"])
        require(
            {row.name: row.shape for row in target.layers()} == {row.name: row.shape for row in self.initial.layers()},
            "the saved target covers other layers than the mask given: the checkpoint is of another network",
        )
        self.target = target

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.initial!r}, steps={self.steps}, {'moving' if self.moving else 'fixed'} target)"


def select_by_magnitude(
    weights: Mapping[str, Tensor],
    like: Mask,
    density: float,
    scope: Scope,
    always: Mask | None,
    seed: int,
    *,
    within: Mask | None = None,
) -> Mask:
    """A mask of the given density by ``|w|``, in the granules of `like`, with at least one granule a layer.

    `always` lists weights that are in whatever their magnitude, outside `within` none is; with N:M the best N of every M are. Where `like`
    has k of N granules and density d, ``k + (N - k) (density - d) / (1 - d)`` are kept: in all with
    ``scope="global"``, in each layer with ``"layer"``.

    >>> like = Mask({"w": torch.tensor([True, False, False])})
    >>> select_by_magnitude({"w": torch.tensor([1.0, -9.0, 2.0])}, like, 1 / 3, "global", None, 0)["w"].tolist()
    [False, True, False]
    """
    cuts = {name: like.granules(name) for name in like}
    scored = fold_groups({name: magnitude(name, weights[name]) for name in like}, cuts)
    former = fold_all(dict(like), cuts)
    allowed: dict[str, Tensor | None] = dict.fromkeys(scored)
    if within is not None:
        allowed |= fold_all({name: within[name] for name in like}, cuts)
    inside = best_n_of_m(scored, allowed, cuts, seed)
    if always is not None:
        inside = fold_all(dict(always), cuts)
    for group, score in scored.items():
        first = inside.get(group)
        if first is None:
            first = torch.zeros_like(score, dtype=torch.bool)
            free = allowed[group]
            first[(score if free is None else score.masked_fill(~free.to(score.device), -1.0)).argmax()] = True
        score[first.to(score.device)] = torch.inf
    counts = {group: (int(keep.sum()), keep.numel()) for group, keep in former.items()}
    if scope == "global":
        kept_now, size = (sum(column) for column in zip(*counts.values(), strict=True))
        room = sum(size if (a := allowed[group]) is None else int(a.sum()) for group, (_, size) in counts.items())
        total = min(max(_between(kept_now, size, like.density, density), len(scored)), room)
        kept = keep_best(scored, allowed, total, seed)
    else:
        kept = {}
        for group, (kept_now, size) in counts.items():
            room = size if (a := allowed[group]) is None else int(a.sum())
            total = min(max(1, _between(kept_now, size, like.density, density)), room)
            kept |= keep_best({group: scored[group]}, {group: allowed[group]}, total, seed)
    shapes = {row.name: row.shape for row in like.layers()}
    return Mask(spread_groups(kept, cuts, shapes), like.granularities)


def _between(kept: int, size: int, own: float, density: float) -> int:
    """``kept + (size - kept) (density - own) / (1 - own)``, half up: `kept` at the density `own`, `size` at 1."""
    share = (density - own) / (1 - own) if own < 1 else 0.0
    count = kept + (size - kept) * share if own < 1 else density * size
    return round_half_up(count + 1e-9)  # rounding of the share must not show


def magnitude(name: str, weight: Tensor) -> Tensor:
    score = weight.detach().abs().float()
    if score.isnan().any():
        raise LehrError(f"{name} has NaN weights: the target cannot be chosen again, lower the learning rate")
    return score


methods: Registry[Callable[..., Method]] = Registry("method")
"""Every method by name; a new one is one file that registers itself, and one row of the contract table."""
