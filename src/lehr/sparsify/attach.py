"""`attach`: bind a method to a network and its optimizer, and leave the user's loop alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from types import TracebackType
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import LehrError, require, unknown
from lehr.masks import Mask
from lehr.masks.targets import whole_parameters
from lehr.sparsify.chance import SETTLED, Chance
from lehr.sparsify.intercept import Interceptor, watched
from lehr.sparsify.method import Method
from lehr.sparsify.slot import Slot
from lehr.sparsify.wrappers import called_module, holds_any, plain_module, plain_optimizer, state_tensors

Inactive = Literal["hold", "move"]


class State(Enum):
    """What the masked parameters hold just now."""

    REST = "dense values, or the final sparse ones"
    DRAWN = "the draw of a training pass"
    JUDGED = "the target network, for a pass in evaluation mode that keeps gradients"


def attach(
    model: nn.Module, optimizer: Optimizer, method: Method, *, inactive: Inactive = "hold", rank: int = 0
) -> Attachment:
    """Run the user's own training loop with the method's probabilities: a context manager.

    In the ``with`` block each training pass uses a fresh draw of P: a forward in training mode with
    gradients on, up to the end of its backward (forwards before that backward share the draw, as
    the terms of one loss). Every other forward sees the target network. Between optimizer steps the
    parameters hold their dense values; once annealing is over, weights outside the target are
    exactly 0, with their optimizer state, and stay so.

    Args:
        model: the network that the loop calls, plain, compiled, under DDP or sharded by FSDP2.
        optimizer: of that network; any but LBFGS, wrapped by Accelerate or not.
        method: the path of the probabilities; a step of it is one step of the optimizer.
        inactive: what the optimizer does to a weight that took no part since its last step:
            ``"hold"`` leaves the weight where it is, ``"move"`` lets momentum and weight decay act.
        rank: give each process its own number to draw different masks; 0 everywhere for the same.

    Raises:
        LehrError: the mask is of another network, the optimizer does not hold the masked weights,
            or the network is attached already.

    >>> import lehr
    >>> net = nn.Linear(8, 4)
    >>> opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    >>> method = lehr.TemperatureAnnealing(lehr.select(net, 0.75), tau=0.5, steps=3)
    >>> with lehr.attach(net, opt, method) as run:
    ...     for _ in range(5):
    ...         opt.zero_grad(); net(torch.randn(2, 8)).square().sum().backward(); opt.step()
    >>> run.finished, int((net.weight != 0).sum())
    (True, 8)
    """
    return Attachment(model, optimizer, method, inactive=inactive, rank=rank)


class Attachment:
    """A method at work on a network; made by `attach`."""

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, method: Method, *, inactive: Inactive, rank: int
    ) -> None:
        if inactive not in ("hold", "move"):
            raise unknown("treatment of inactive weights", inactive, ["hold", "move"])
        require(0 <= rank < 1 << 24, f"rank is {rank}: give the number of the process")
        self.model = plain_module(model)
        self.called = called_module(model)
        self.optimizer = plain_optimizer(optimizer)
        self.method = method
        self.inactive: Inactive = inactive
        self.rank = rank
        self.step = 0  # optimizer steps done
        method.target.check(self.model)
        self.slots = [self._slot(name) for name in method.target]
        trained = [slot.parameter for slot in self.slots if slot.parameter.requires_grad]
        if not holds_any(self.optimizer, trained):
            raise LehrError(
                "the optimizer holds none of the masked weights: build it from the parameters of the attached network"
            )
        self._turn = 0  # training passes begun since the last optimizer step
        self._state = State.REST
        self._passed = False  # whether a backward has used the present draw
        self._frozen = False  # inside `judged`
        self._watch: Interceptor | None = None
        self._hooks: list[Any] = []
        self._take_target()

    def _slot(self, name: str) -> Slot:
        prefix, _, attribute = name.rpartition(".")
        return Slot(self.model.get_submodule(prefix), attribute, name, self._backward_seen)

    # -- what a user may ask ------------------------------------------------------------------
    @property
    def progress(self) -> float:
        """``u`` in [0, 1] through the annealing phase."""
        return self.method.progress(self.step)

    @property
    def finished(self) -> bool:
        """Whether annealing is over, so that the network is exactly its target."""
        return self.method.finished(self.step)

    @property
    def target(self) -> Mask:
        """The present target subnetwork."""
        return self.method.target

    def expected_density(self) -> float:
        """The mean of P over all weights that this process holds."""
        totals = [
            (self.method.chance(self.step, s.part).expected_density(s.target) * s.part.count, s.part.count)
            for s in self.slots
            if s.part.count
        ]
        return sum(total for total, _ in totals) / max(1, sum(count for _, count in totals))

    @contextmanager
    def judged(self) -> Iterator[nn.Module]:
        """Hold the target network in place, to evaluate, export or save it while annealing goes on.

        Forwards in evaluation mode see the target by themselves; this spares them a swap each, and
        serves what reads the parameters (``state_dict``, ``torch.export``, a copy).
        """
        if self._frozen or self._settled:
            yield self.model
            return
        with self._swapped():
            self._frozen = True
            try:
                yield self.model
            finally:
                self._frozen = False

    def rest(self) -> None:
        """Bring the parameters to rest now, in the middle of a pass; its backward is then refused by autograd."""
        with torch.no_grad():
            self._to_rest()

    def state_dict(self) -> dict[str, Any]:
        """Step, turn and the method's state, for a resume that continues to the same bits."""
        return {"step": self.step, "turn": self._turn, "method": self.method.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; load the network's and the optimizer's own state first."""
        for field in ("step", "turn"):
            require(type(state.get(field)) is int and state[field] >= 0, f"the saved {field} is {state.get(field)!r}")
        self.method.load_state_dict(state["method"])
        self.step, self._turn = state["step"], state["turn"]
        self._state = State.REST
        self._take_target()
        if self._watch is not None:
            self._settle()

    # -- the context --------------------------------------------------------------------------
    def __enter__(self) -> Attachment:
        if watched(self.called):
            raise LehrError("this network is attached already: leave the first `with lehr.attach(...)` before the next")
        if self.method.due(self.step) and self.step == 0:
            self._retarget()
        self._settle()
        for slot in self.slots:
            slot.watch()
        self._watch = Interceptor(self.called, self._around_call)
        self._hooks = [
            self.optimizer.register_step_pre_hook(self._before_step),
            self.optimizer.register_step_post_hook(self._after_step),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()
        if self._watch is not None:
            self._watch.remove()
        self._watch = None
        for hook in self._hooks:
            hook.remove()
        for slot in self.slots:
            slot.unwatch()
            slot.shadow = None
        if kind is None and not self.finished:
            warnings.warn(
                f"annealing stopped at step {self.step} of {self.method.steps}: weights outside the target are not "
                "zero yet; train on, or call target.apply_(model)",
                stacklevel=2,
            )

    # -- passes -------------------------------------------------------------------------------
    @contextmanager
    def _around_call(self) -> Iterator[None]:
        # A call from inside a backward pass is a recomputation (gradient checkpointing): it must
        # see what the first computation saw.
        recomputed = torch._C._current_graph_task_id() != -1
        if recomputed or self._frozen:
            require(
                recomputed or not (self.called.training and torch.is_grad_enabled()),
                "a training pass began inside `judged()`: leave it first, or switch the network to eval()",
            )
            yield
        elif not torch.is_grad_enabled():
            with self._swapped():
                yield
        else:
            with torch.no_grad():
                self._begin_pass(State.DRAWN if self.called.training else State.JUDGED)
            yield

    def _begin_pass(self, wanted: State) -> None:
        if self._state is wanted and not self._passed:
            return  # an earlier forward of the same pass
        self._to_rest()
        self._passed = False
        if self._settled:
            self._turn += 1
            return
        for slot in self.slots:
            chance = SETTLED if wanted is State.JUDGED else self.method.chance(self.step, slot.part)
            if chance.settled:
                slot.draw(None)
            elif self.method.realise == "mean":
                slot.draw(chance.probability(slot.target))
            else:
                slot.draw(self._sample(slot, chance))
        self._state = wanted
        self._turn += 1
        torch.clear_autocast_cache()  # or a second forward in one autocast region uses the first one's weights

    def _sample(self, slot: Slot, chance: Chance) -> torch.Tensor:
        stream = Stream(self.method.seed, slot.name, Purpose.MASK, self.step, self._turn, self.rank)
        part, device = slot.part, slot.target.device
        if isinstance(chance.rest, float) and chance.kept == 1.0:
            chosen = stream.bernoulli(part.start, chance.rest, part.count)
            return chosen.reshape(part.shape).to(device).logical_or_(slot.target)
        probability = chance.probability(slot.target)
        return stream.bernoulli(part.start, probability.reshape(-1)).reshape(part.shape)

    def _backward_seen(self) -> None:
        self._passed = True

    def _to_rest(self) -> None:
        if self._state is not State.REST:
            for slot in self.slots:
                slot.undraw()
                slot.forget()
            self._state = State.REST
            torch.clear_autocast_cache()

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        if self._settled:
            yield
            return
        with torch.no_grad():
            drawn = self._state is not State.REST
            former = [slot.swap(slot.judged_values(drawn)) for slot in self.slots]
        torch.clear_autocast_cache()
        try:
            yield
        finally:
            with torch.no_grad():
                for slot, values in zip(self.slots, former, strict=True):
                    slot.swap(values)
            torch.clear_autocast_cache()

    # -- optimizer steps ----------------------------------------------------------------------
    @torch.no_grad()
    def _before_step(self, *_: Any) -> None:
        if self._state is State.REST:
            return
        for slot in self.slots:
            if slot.faded or self.inactive == "move":
                slot.undraw()
            elif slot.active is not None and slot.active is not slot.factor:
                # Several passes: all weights that took part in any of them are to be moved.
                slot.undraw()
                slot.local.mul_(slot.active)

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        self._check_called()
        if self._state is not State.REST and self.inactive == "hold":
            for slot in self.slots:
                who = slot.factor if slot.active is None else slot.active
                slot.undraw((who > 0).to(who.dtype) if slot.faded else who)
        self._state = State.REST
        for slot in self.slots:
            slot.forget()
            slot.active = None
        self._passed = False
        self.step += 1
        self._turn = 0
        if self.method.due(self.step):
            self._retarget()
        self._settle()
        torch.clear_autocast_cache()

    def _check_called(self) -> None:
        if self._turn == 0 and any(slot.parameter.grad is not None for slot in self.slots):
            raise LehrError(
                "the optimizer stepped on gradients of passes that the attachment did not see: attach to the module "
                "that the loop calls, and call model.compile() before attaching"
            )

    # -- the target ---------------------------------------------------------------------------
    @property
    def _settled(self) -> bool:
        """Whether the parameters at rest are the target network already."""
        return self.finished

    def _retarget(self) -> None:
        self.method.retarget(self.step, whole_parameters(self.model, self.method.initial))
        self._take_target()

    def _take_target(self) -> None:
        for slot in self.slots:
            slot.set_target(self.method.target[slot.name])

    def _settle(self) -> None:
        """Once annealing is over: exact zeros outside the target, in weights and optimizer state."""
        if self.finished:
            with torch.no_grad():
                for slot in self.slots:
                    slot.zero(slot.local)
                    for tensor in state_tensors(self.optimizer, slot.parameter):
                        slot.zero(tensor)
