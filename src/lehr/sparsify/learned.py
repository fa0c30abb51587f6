"""`learn_mask`: a mask that is trained with the weights, one logit for each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from lehr.base.errors import LehrError, check_fraction, require
from lehr.masks.targets import Modules, target_parameters
from lehr.sparsify.shard import is_sharded
from lehr.sparsify.wrappers import check_held, plain_module, plain_optimizer


@dataclass(frozen=True)
class MaskLearning:
    """What pulls at a learned mask m beside the task: ``a mean(m) + b mean(m (1 - m))`` is added to the loss.

    Args:
        sparsity: a, the pressure to leave weights out, in nats for the whole mask.
        polarise: b, the pressure toward 0 and 1.
        warm_up: optimizer steps in which the mask rests.
        ramp: steps after those over which both pressures grow from 0.
        floor: mean of a layer's mask below which the pressure of sparsity turns round, in [0, 1).
        straight_through: run with the weights of ``m > 1/2`` alone, and give weights and mask the gradients as if all were in.
        initial: m before the first step, in (0, 1).
        lr: of Adam on the logits, which has no weight decay: decay would pull m to 1/2.

    Raises:
        LehrError: a number is out of its range.

    >>> MaskLearning(sparsity=3.0, ramp=100).strength(50)
    0.5
    """

    sparsity: float = 1.0
    polarise: float = 0.0
    warm_up: int = 0
    ramp: int = 0
    floor: float = 0.0
    straight_through: bool = False
    initial: float = 0.95
    lr: float = 0.02

    def __post_init__(self) -> None:
        for name in ("sparsity", "polarise", "lr"):
            value = getattr(self, name)
            require(math.isfinite(value) and value >= 0, f"{name} of a learned mask is {value}: give a number from 0")
        for name in ("warm_up", "ramp"):
            value = getattr(self, name)
            require(type(value) is int and value >= 0, f"{name} of a learned mask is {value!r}: give optimizer steps")
        check_fraction("floor", self.floor)
        require(0 < self.initial < 1, f"initial is {self.initial}: give a number between 0 and 1")

    def strength(self, t: int) -> float:
        """The share of both pressures at step t.

        >>> [MaskLearning(warm_up=2, ramp=4).strength(t) for t in (0, 2, 4, 6, 9)]
        [0.0, 0.0, 0.5, 1.0, 1.0]
        """
        if t < self.warm_up:
            return 0.0
        return min(1.0, (t - self.warm_up) / self.ramp) if self.ramp else 1.0


def learn_mask(
    model: nn.Module,
    optimizer: Optimizer,
    how: MaskLearning | None = None,
    *,
    target_modules: Modules = None,
    exclude_modules: Modules = None,
) -> LearnedMask:
    """Train a mask with the weights in the user's own loop: a context manager.

    In the ``with`` block every target weight w is ``w m`` with ``m = sigmoid(s)`` and one logit s for each (in the manner of 2312.01653,
    whose own equations are not known to us; this is our variant). Each step of the optimizer is one of the logits' own Adam, on
    the gradient of the task and of the penalties of `MaskLearning`. At the end of the block the mask is multiplied into the
    weights and nothing else is left of it, so that magnitude then is ``|w m|``; `LearnedMask.values` still tells m.

    Penalties alone cannot make a network sparse: ``w m`` is the same with twice the w and half the m, so that without
    weight decay or batch-norm the weights grow as the mask shrinks. It is the ranking that is of use.

    Args:
        model: plain, compiled or under DDP.
        optimizer: of its weights.
        how: the penalties and their schedule; default `MaskLearning()`.
        target_modules, exclude_modules: as in `lehr.select`.

    Raises:
        LehrError: weights are sharded, or not held by the optimizer, or parametrized already.

    >>> net = nn.Linear(4, 2)
    >>> opt = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with learn_mask(net, opt) as learned:
    ...     for _ in range(3):
    ...         opt.zero_grad(); net(torch.ones(1, 4)).square().sum().backward(); opt.step()
    >>> learned.values["weight"].shape, list(net.state_dict())
    (torch.Size([2, 4]), ['weight', 'bias'])
    """
    return LearnedMask(model, optimizer, how or MaskLearning(), target_modules, exclude_modules)


class LearnedMask:
    """A mask at work; made by `learn_mask`."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        how: MaskLearning,
        target_modules: Modules = None,
        exclude_modules: Modules = None,
    ) -> None:
        self.model, self.optimizer, self.how = plain_module(model), plain_optimizer(optimizer), how
        self.step = 0
        taken = any(isinstance(module, _Masked) for module in self.model.modules())
        require(not taken, "a mask is learned for this network already: leave the first `with` before the next")
        self.names = list(target_parameters(self.model, target_modules, exclude_modules))
        weights = {name: self.model.get_parameter(name) for name in self.names}
        for name, weight in weights.items():
            places = sum(p is weight for m in self.model.modules() for p in m._parameters.values())
            require(
                places == 1,
                f"{name} is shared by {places} modules, so that a mask cannot be learned for it: leave it out",
            )
            require(not is_sharded(weight), f"{name} is sharded, so that a mask cannot be learned for it: use DDP")
        check_held(self.optimizer, weights)
        self._values: dict[str, Tensor] = {}
        self._masked: dict[str, _Masked] = {}
        self._orders: dict[str, list[str]] = {}
        self._adam: torch.optim.Adam | None = None
        self._hook: Any = None

    @property
    def values(self) -> dict[str, Tensor]:
        """m by parameter name, in [0, 1]."""
        if self._masked:
            return {name: masked.logits.detach().sigmoid() for name, masked in self._masked.items()}
        return dict(self._values)

    def terms(self) -> dict[str, float]:
        """``mask_mean``: mean m; ``mask_undecided``: mean ``m (1 - m)``; ``mask_density``: share of ``m > 1/2``."""
        flat = torch.cat([m.flatten().double() for m in self.values.values()])
        return {
            "mask_mean": float(flat.mean()),
            "mask_undecided": float((flat * (1 - flat)).mean()),
            "mask_density": float((flat > 0.5).double().mean()),
        }

    # -- the context --------------------------------------------------------------------------
    def __enter__(self) -> LearnedMask:
        logit = math.log(self.how.initial / (1 - self.how.initial))
        for name in self.names:
            owner, attribute = self._place(name)
            masked = _Masked(owner.get_parameter(attribute), logit, self.how.straight_through)
            self._masked[name] = masked
            self._orders[name] = list(owner._parameters)
            # The weights as they are would be checked by running the mask on them: it is ours, and need not be.
            parametrize.register_parametrization(owner, attribute, masked, unsafe=True)
        self._adam = torch.optim.Adam([masked.logits for masked in self._masked.values()], lr=self.how.lr)
        self._hook = self.optimizer.register_step_post_hook(self._after_step)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()
        self._values = self.values
        for name in self._masked:
            owner, attribute = self._place(name)
            parametrize.remove_parametrizations(owner, attribute, leave_parametrized=kind is None)
            for one in self._orders[name]:  # the parameters of a network have an order, which others may go by
                owner._parameters[one] = owner._parameters.pop(one)
        self._masked = {}

    # -- a step -------------------------------------------------------------------------------
    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        assert self._adam is not None, "the hook lives in the block"
        strength = self.how.strength(self.step)
        resting = self.step < self.how.warm_up
        self.step += 1
        several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        size = sum(masked.logits.numel() for masked in self._masked.values())
        for masked in self._masked.values():
            logits = masked.logits
            gradient = torch.zeros_like(logits) if logits.grad is None else logits.grad
            if several:
                dist.all_reduce(gradient)
                gradient /= dist.get_world_size()
            m = logits.sigmoid()
            low = self.how.floor > 0 and float(m.mean()) <= self.how.floor
            down = -self.how.sparsity if low else self.how.sparsity
            pressure = down + self.how.polarise * (1 - 2 * m)
            gradient = gradient + strength * pressure * m * (1 - m) / size
            logits.grad = gradient * size  # far from Adam's epsilon
        if not resting:
            self._adam.step()
        for masked in self._masked.values():
            masked.logits.grad = None

    # -- state --------------------------------------------------------------------------------
    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs beside the network's own state, which has the logits."""
        assert self._adam is not None, "asked for in the block"
        found = {"step": torch.tensor(self.step)}
        for name, masked in self._masked.items():
            for key, value in self._adam.state.get(masked.logits, {}).items():
                found[f"{key}/{name}"] = value
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave."""
        assert self._adam is not None, "asked for in the block"
        self.step = int(state["step"])
        for full, value in state.items():
            key, sign, name = full.partition("/")
            if sign:
                if name not in self._masked:
                    raise LehrError(f"the saved state of the learned mask has {name}, which the network lacks")
                logits = self._masked[name].logits
                self._adam.state[logits][key] = value if key == "step" else value.to(logits.device)

    def _place(self, name: str) -> tuple[nn.Module, str]:
        prefix, _, attribute = name.rpartition(".")
        return self.model.get_submodule(prefix), attribute


class _Masked(nn.Module):
    """``w sigmoid(s)``, or straight through ``w [sigmoid(s) > 1/2]``."""

    def __init__(self, weight: Tensor, logit: float, straight_through: bool) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full_like(weight.detach(), logit))
        self.straight_through = straight_through

    def forward(self, weight: Tensor) -> Tensor:
        m = self.logits.sigmoid()
        if self.straight_through:
            result: Tensor = _StraightThrough.apply(weight, m)  # type: ignore[no-untyped-call]
            return result
        return weight * m


class _StraightThrough(torch.autograd.Function):
    """Forward ``w [m > 1/2]``; backward as of ``w`` in w and as of ``w m`` in m."""

    @staticmethod
    def forward(context: Any, weight: Tensor, m: Tensor) -> Tensor:
        context.save_for_backward(weight)
        return weight * (m > 0.5)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (weight,) = context.saved_tensors
        return gradient, gradient * weight
