"""`attach`: bind a method to a network and its optimizer, and leave the user's loop alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from lehr.base.errors import LehrError, require, unknown
from lehr.masks import Mask
from lehr.masks.targets import named_parameter, whole_parameters
from lehr.sparsify.intercept import Interceptor, watched
from lehr.sparsify.method import Method
from lehr.sparsify.passes import Inactive, Passes, State
from lehr.sparsify.shard import is_sharded
from lehr.sparsify.slot import Slot
from lehr.sparsify.wrappers import (
    called_module,
    check_agreement,
    check_held,
    holds,
    plain_module,
    plain_optimizer,
    state_tensors,
)


def attach(
    model: nn.Module, optimizer: Optimizer, method: Method, *, inactive: Inactive = "hold", rank: int | None = None
) -> Attachment:
    """Run the user's own training loop with the method's probabilities: a context manager.

    In the ``with`` block each training pass uses a fresh draw of P: a forward in training mode with
    gradients on, up to the end of its backward (forwards before that backward share the draw, as
    the terms of one loss). Every other forward sees the target network. After an optimizer step the
    parameters hold their dense values (between forward and step, those of the draw: `Attachment.rest` and
    `Attachment.judged` give the others); once annealing is over, weights outside the target are
    exactly 0, with their optimizer state, and stay so.

    Args:
        model: the network that the loop calls, plain, compiled, under DDP or sharded by FSDP2.
        optimizer: of that network; any but LBFGS, wrapped by Accelerate or not.
        method: the path of the probabilities; a step of it is one step of the optimizer.
        inactive: what the optimizer does to a weight that took no part since its last step:
            ``"hold"`` leaves the weight where it is, ``"move"`` lets momentum and weight decay act.
        rank: give each process of DDP its own number and they draw different masks, a weight moving everywhere
            if it took part anywhere; None, the default, and they draw the same.

    Raises:
        LehrError: the mask is of another network, the optimizer does not hold a masked weight, the
            network is attached already, or is called or trained in a way that cannot be followed.

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
    """A method at work on a network; made by `attach`.

    >>> import lehr
    >>> net = nn.Linear(8, 4)
    >>> opt = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> with lehr.attach(net, opt, lehr.TemperatureAnnealing(lehr.select(net, 0.75), steps=4)) as run:
    ...     for _ in range(4):
    ...         opt.zero_grad(); net(torch.ones(2, 8)).square().sum().backward(); opt.step()
    ...         print(run.step, run.progress, run.finished, round(run.expected_density(), 3))
    1 0.25 False 0.57
    2 0.5 False 0.438
    3 0.75 False 0.305
    4 1.0 True 0.25
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, method: Method, *, inactive: Inactive, rank: int | None
    ) -> None:
        if inactive not in ("hold", "move"):
            raise unknown("treatment of inactive weights", inactive, ["hold", "move"])
        require(rank is None or 0 <= rank < 1 << 24, f"rank is {rank}: give the number of the process")
        self.model = plain_module(model)
        self.called = called_module(model)
        self.optimizer = plain_optimizer(optimizer)
        self.method = method
        self.step = 0  # optimizer steps done
        method.target.check(self.model)
        check_agreement(method.target)
        self.slots = [self._slot(name) for name in method.target]
        check_held(self.optimizer, {slot.name: slot.parameter for slot in self.slots})
        if rank is not None and any(is_sharded(slot.parameter) for slot in self.slots):
            raise LehrError("rank is given and the weights are sharded, so every rank draws its own part: leave it out")
        self.passes = Passes(self.slots, inactive, rank)
        self._frozen = False  # inside `judged`
        self._warned = self._uncut = False
        self._watch: Interceptor | None = None
        self._hooks: list[Any] = []
        self._take_target()

    def _slot(self, name: str) -> Slot:
        prefix, _, attribute = name.rpartition(".")
        granules = self.method.target.granules(name)
        slot = Slot(self.model.get_submodule(prefix), attribute, name, granules, self._backward_seen)
        if self.method.within is not None:
            slot.set_within(self.method.within[name])
        return slot

    # -- what a user may ask ------------------------------------------------------------------
    @property
    def progress(self) -> float:
        """``u`` in [0, 1] through the annealing phase: steps done over its length."""
        return self.method.progress(self.step)

    @property
    def finished(self) -> bool:
        """Whether annealing is over, so that the network at rest is exactly its target."""
        return self.method.finished(self.step)

    @property
    def target(self) -> Mask:
        """The present target subnetwork."""
        return self.method.target

    def expected_density(self) -> float:
        """The mean of P over all weights that this process holds."""
        total = count = 0.0
        for slot in self.slots:
            probability = self.method.chance(self.step, slot.shard).probability(slot.target)
            total += float((probability if slot.within is None else probability * slot.within).double().sum())
            count += slot.shard.count
        return total / max(1.0, count)

    @contextmanager
    def judged(self) -> Iterator[nn.Module]:
        """Hold the target network in place, to evaluate, export or save it while annealing goes on.

        Forwards in evaluation mode see the target by themselves; this spares them a swap each, and
        serves what reads the parameters (``state_dict``, ``torch.export``, a copy). A backward of a
        forward made inside belongs inside too; outside autograd refuses it.
        """
        if self._frozen or self.finished:
            yield self.model
            return
        pending = self.passes.state is not State.REST and not self.passes.used
        with self.passes.swapped(seen=not pending):
            self._frozen = True
            try:
                yield self.model
            finally:
                self._frozen = False

    def rest(self) -> None:
        """Bring the parameters to rest now, in the middle of a pass; its backward is then refused by autograd."""
        if not self._frozen:  # else the user holds the target network in place
            self.passes.unswap()
        with torch.no_grad():
            self.passes.rest()

    def state_dict(self) -> dict[str, Any]:
        """Step, turn and the method's state, for a resume that continues to the same bits."""
        return {"step": self.step, "turn": self.passes.turn, "method": self.method.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; load the network's and the optimizer's own state first."""
        for field in ("step", "turn"):
            require(type(state.get(field)) is int and state[field] >= 0, f"the saved {field} is {state.get(field)!r}")
        self.method.load_state_dict(state["method"])
        self.step, self.passes.turn = state["step"], state["turn"]
        self.passes.state = State.REST
        self._take_target()
        if self._watch is not None and self.finished:
            self._cut()

    # -- the context --------------------------------------------------------------------------
    def __enter__(self) -> Attachment:
        if watched(self.called):
            raise LehrError("this network is attached already: leave the first `with lehr.attach(...)` before the next")
        if self.step == 0 and self.method.due(0):
            self._retarget()
        if self.finished:
            self._cut()
        self._uncut = self.method.clears  # at the first pass: until then a state may be loaded, in any order
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

    # -- calls of the network -----------------------------------------------------------------
    @contextmanager
    def _around_call(self) -> Iterator[None]:
        graded = torch.is_grad_enabled()
        stranger = self._stranger()
        if torch._C._current_graph_task_id() != -1:
            # From inside a backward pass: gradient checkpointing computes again what it computed,
            # and must see the same weights.
            if graded and self.passes.state is State.REST and not self.finished:
                raise LehrError(
                    "the network is computed again inside a backward pass, and its first computation had no gradients: "
                    "use checkpoint(..., use_reentrant=False)"
                )
            yield
        elif stranger is not None:
            # functional_call with other tensors, or the user replaced a parameter.
            require(not graded, stranger)
            yield
        elif self._frozen:
            require(
                not (self.called.training and graded),
                "a training pass began inside `judged()`: leave it first, or switch the network to eval()",
            )
            yield
        elif self.finished or graded:
            if graded:
                if self._uncut:
                    self._uncut = False
                    self._cut()
                with torch.no_grad():
                    wanted = State.DRAWN if self.called.training else State.JUDGED
                    self.passes.begin(wanted, self.method, self.step)
            yield
        else:
            with self.passes.swapped(seen=False):
                yield

    def _stranger(self) -> str | None:
        """What to say if the network is called with another parameter than the optimizer moves."""
        for slot in self.slots:
            prefix = slot.name.rpartition(".")[0]
            if slot.parameter is slot.home and self.model.get_submodule(prefix) is slot.owner:
                continue
            present = named_parameter(self.model, slot.name)
            if not holds(self.optimizer, present):
                return (
                    f"{slot.name} is not the parameter that the optimizer moves (it was replaced, or functional_call is "
                    "at work): give the optimizer the present parameters, or attach again"
                )
            slot.move_to(self.model.get_submodule(prefix))
        return None

    def _backward_seen(self) -> None:
        self.passes.used = True

    # -- optimizer steps ----------------------------------------------------------------------
    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)  # args[0] is the optimizer
        if closure is None:
            with torch.no_grad():
                self.passes.before_step()
            return None

        def closure_then_ready() -> Any:
            # The passes of this step happen in the closure, so that is when to get ready.
            value = closure()
            with torch.no_grad():
                self.passes.before_step()
            return value

        return (optimizer, closure_then_ready), {}

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        if self.passes.turn == 0 and any(slot.parameter.grad is not None for slot in self.slots):
            raise LehrError(
                "the optimizer stepped on gradients of passes that the attachment did not see: attach to the module "
                "that the loop calls, and call model.compile() before attaching"
            )
        if self.passes.state is State.JUDGED and self.passes.used and not self._warned:
            self._warned = True
            warnings.warn(
                "the network trains in eval(), where it is its target and nothing is drawn: call model.train(), and "
                "put only its norms into eval() to freeze them",
                stacklevel=3,
            )
        self.passes.after_step()
        self.step += 1
        due = self.method.due(self.step)
        if due:
            self._retarget()
        if self.step == self.method.steps or (due and self.method.clears):
            self._cut()
        elif self.finished or self.method.clears:
            for slot in self.slots:
                for tensor in (slot.local, *state_tensors(self.optimizer, slot.parameter)):
                    slot.zero(tensor)

    # -- the target ---------------------------------------------------------------------------
    def _retarget(self) -> None:
        weights = whole_parameters(self.model, self.method.initial)
        if self.step and self.method.wants_gradients(self.step - 1):
            self.method.retarget(self.step, weights, self._gradients())
        else:
            self.method.retarget(self.step, weights)
        self._take_target()

    def _gradients(self) -> dict[str, Tensor]:
        """Of the step just done, all weights, summed over the processes; 0 where there was none."""
        found = {slot.name: slot.take_collected() for slot in self.slots}
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            for slot in self.slots:
                if not is_sharded(slot.parameter):  # those of shards are of all processes already
                    dist.all_reduce(found[slot.name])
        return found

    def _take_target(self) -> None:
        for slot in self.slots:
            slot.set_target(self.method.target[slot.name])

    def _cut(self) -> None:
        """Exact zeros outside the target, in weights and optimizer state: annealing is over, or the method clears."""
        with torch.no_grad():
            for slot in self.slots:
                slot.cut()
                for tensor in state_tensors(self.optimizer, slot.parameter):
                    slot.zero(tensor)
