"""Gradual pruning with a threshold that is drawn: near it a weight is in or out by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lehr.base.errors import check_fraction, require
from lehr.base.schedules import Schedule, check_schedule, cubic, temperature
from lehr.masks import Mask
from lehr.masks.choice import fold_groups
from lehr.masks.selection import Scope
from lehr.sparsify.chance import SETTLED, Chance
from lehr.sparsify.method import NOTHING, Method, Realise, methods
from lehr.sparsify.shard import Shard


class StochasticThreshold(Method):
    """``P = sigmoid(log(|w| / theta) / T)``, theta following the cubic density of gradual pruning, T falling to 0.

    The target is chosen again by magnitude as its density falls, ``d(u) = d + (1 - d)(1 - u)^3``; theta is
    the smallest magnitude in it. So a weight of the magnitude theta is in half of the passes, and one that is x times
    as large with the odds ``x^(1/T)``: the threshold is blurred by a factor of about ``e^T``. Between two
    choices P keeps to the magnitudes of the last one.

    Args:
        mask: a mask of the density wanted at the end.
        tau: T at the start, in (0, 1].
        steps: length of the annealing phase, in optimizer steps.
        schedule: of T: ``linear``, ``cosine``, ``exponential``, ``cubic`` or a function of u that falls from 1 to 0.
        scope, reselect_every, realise, within, redraw_every, seed: as in `Method`.

    >>> import torch
    >>> method = StochasticThreshold(Mask({"w": torch.tensor([True, False])}), tau=1.0, steps=4, schedule="linear")
    >>> method.retarget(2, {"w": torch.tensor([4.0, 1.0])})  # T = 0.5, density 0.5625: one weight of two, theta = 4
    >>> method.chance(2, Shard("w", 0, 2, (2,))).probability(method.target["w"])
    tensor([0.5000, 0.0588])
    """

    name: ClassVar[str] = "stochastic-threshold"

    def __init__(
        self,
        mask: Mask,
        *,
        steps: int,
        tau: float = 0.5,
        schedule: str | Schedule = "linear",
        scope: Scope = "global",
        reselect_every: int | None = None,
        realise: Realise = "sample",
        within: Mask | None = None,
        redraw_every: int = 1,
        seed: int = 0,
    ) -> None:
        check_fraction("tau", tau, below_one=False)
        texts = set(mask.granularities.values())
        require(
            not any(text[0].isdigit() for text in texts),
            f"{self.name} blurs one threshold and {', '.join(sorted(texts))} has one for every group: use another method",
        )
        require(tau > 0, "tau is 0, which is a threshold without noise: use gradual")
        check_schedule(schedule)
        super().__init__(
            mask,
            steps=steps,
            target="moving",
            scope=scope,
            reselect_every=reselect_every,
            realise=realise,
            within=within,
            redraw_every=redraw_every,
            seed=seed,
        )
        self.tau = float(tau)
        self.schedule = schedule
        self._ratios: dict[str, Tensor] = {}  # log(|w| / theta) at the last choice, of each weight's granule

    def density(self, t: int) -> float:
        start = 1.0 if self.within is None else self.within.density
        return self.initial.density + (start - self.initial.density) * cubic(self.progress(t))

    def retarget(self, t: int, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor] = NOTHING) -> None:
        super().retarget(t, weights)
        cuts = {name: self.target.granules(name) for name in self.target}
        scored = fold_groups({name: weights[name].detach().abs().float() for name in self.target}, cuts)
        spread = {n: cut.spread(scored[cut.group]).reshape(self.target[n].shape) for n, cut in cuts.items()}
        tiny = torch.finfo(torch.float32).tiny
        common = _smallest_kept(list(spread.values()), self.target.kept) if self.scope == "global" else None
        for name, score in spread.items():
            theta = _smallest_kept([score], int(self.target[name].sum())) if common is None else common
            ratio = (score.clamp_min(tiny) / max(theta, tiny)).log()
            # What a layer keeps so as not to be empty lies below theta, and is to be in at the end.
            self._ratios[name] = torch.where(self.target[name].to(ratio.device), ratio.abs(), ratio)

    def chance(self, t: int, shard: Shard) -> Chance:
        blur = temperature(self.schedule, self.progress(t), self.tau, self.initial.density)
        if blur == 0.0 or shard.name not in self._ratios:
            return SETTLED
        chance = torch.sigmoid(shard.cut(self._ratios[shard.name]) / blur)
        return Chance(kept=chance, rest=chance)

    def state_dict(self) -> dict[str, Any]:
        """The target, and the magnitudes that P goes by until the next choice."""
        return super().state_dict() | {"tensors": dict(self._ratios)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        tensors = state.get("tensors", {})
        for name, ratios in tensors.items():
            require(
                name in self.target and tuple(ratios.shape) == tuple(self.target[name].shape),
                f"the saved state of {self.name} has another shape for {name}: the checkpoint is of another network",
            )
        self._ratios = dict(tensors)


def _smallest_kept(scores: Sequence[Tensor], count: int) -> float:
    """The smallest of the `count` largest scores: those that a layer keeps only so as not to be empty do not count."""
    flat = torch.cat([score.reshape(-1).cpu() for score in scores])
    return float(flat.kthvalue(max(1, flat.numel() - count + 1)).values)


methods.add(StochasticThreshold.name, StochasticThreshold)
