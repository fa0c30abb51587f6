"""`Slot`: what the engine keeps of one masked parameter, and the moves on its values.

Between optimizer steps a parameter is *at rest*: it holds the dense values, or once annealing is
over the sparse ones. For a training pass it is *drawn*: weights that are out read 0 and their
values wait in `shadow`. Writes go through ``detach()``, which shares the version counter, so that
autograd notices a use it cannot stand; the one exception says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lehr.masks.granules import Granules
from lehr.sparsify.sample import Sample
from lehr.sparsify.shard import Shard, is_sharded, local_tensor, parameter_of, whole_like


class Slot:
    """One masked parameter: where it lives, its target mask, and the draw of the present pass.

    `factor` is what multiplies the weights of the present pass and their gradients: the draw as 0.0
    and 1.0, or P itself where weights are faded and not drawn. It has the parameter's own type,
    because torch multiplies floats about twenty times faster than it selects by a bool mask (here,
    on 235,200 weights: ``mul`` 13 us, ``where`` 262 us).
    """

    def __init__(
        self, owner: nn.Module, attribute: str, name: str, granules: Granules, on_gradient: Callable[[], None]
    ) -> None:
        self.owner, self.attribute, self.name = owner, attribute, name
        self.on_gradient = on_gradient
        self.home = self.parameter  # the one that the optimizer moves
        self.shard = Shard.of(name, self.parameter, granules)
        self.target = torch.ones(self.shard.shape, dtype=torch.bool, device=self.local.device)
        self.within: Tensor | None = None  # what may ever take part; None is everything
        self.inside = torch.ones_like(self.target, dtype=self.local.dtype)  # the target as 0.0 and 1.0
        self.factor = self.inside
        self.takes_part = self.inside  # the factor as 0.0 and 1.0
        self.faded = False  # whether the factor is P and not a draw
        # Whether the values are those of a pass, and `shadow` has those at rest: a byte that the compiled draw sets itself, as an
        # interruption may come before the next line of Python.
        self._there = np.zeros(1, dtype=np.uint8)
        self.active: Tensor | None = None  # who took part in any pass since the last optimizer step
        self.shadow: Tensor | None = None  # the values at rest, while drawn
        self._drawn: Tensor | None = None  # memory for the draws
        self.collecting = False  # whether gradients of weights that take no part are wanted
        self.collected: Tensor | None = None  # those of this step so far
        self._before: Tensor | None = None  # the gradient accumulated by earlier passes of the step
        self._hooked: nn.Parameter | None = None
        self._hook: Any = None

    # -- the parameter ------------------------------------------------------------------------
    @property
    def parameter(self) -> nn.Parameter:
        """Looked up each time: the user may have replaced it (load_state_dict(assign=True), FSDP)."""
        return parameter_of(self.owner, self.attribute)

    @property
    def local(self) -> Tensor:
        """The values that this process holds."""
        return local_tensor(self.parameter)

    @property
    def drawn(self) -> bool:
        """Whether the values in place are those of a pass, and `shadow` has those at rest."""
        return bool(self._there[0])

    @drawn.setter
    def drawn(self, value: bool) -> None:
        self._there[0] = value

    def set_target(self, whole: Tensor) -> None:
        """Take up a target mask given for the whole parameter."""
        local = self.local
        self.target = self.shard.cut(whole).to(local.device)
        self.inside = self.target.to(local.dtype)
        self.forget()

    def set_within(self, whole: Tensor) -> None:
        """Take up the mask outside which nothing ever takes part."""
        self.within = self.shard.cut(whole).to(self.local.device)

    def _follow(self, local: Tensor) -> None:
        """Move along when the user has moved the network to another device or type."""
        if self.inside.device != local.device or self.inside.dtype != local.dtype:
            self.target = self.target.to(local.device)
            self.inside = self.target.to(local.dtype)
            self.within = None if self.within is None else self.within.to(local.device)
            self.shadow = self._drawn = None
            self.forget()

    def forget(self) -> None:
        """The pass is over: gradients are masked by the target until the next draw."""
        self.factor = self.takes_part = self.inside
        self.faded = self.drawn = False

    def move_to(self, owner: nn.Module) -> None:
        """Take up a parameter that the user has put in the place of the former one, in network and optimizer."""
        self.owner = owner
        self.home = self.parameter
        self.shadow = self._drawn = self.active = None
        self.forget()
        self.watch()

    def watch(self) -> None:
        """See that gradients of the present parameter object pass through us."""
        parameter = self.parameter
        if self._hooked is parameter or not parameter.requires_grad:
            return
        self.unwatch()
        self._hooked = parameter
        self._before = None
        if is_sharded(parameter):  # tensor hooks never fire under FSDP2
            self._hook = parameter.register_post_accumulate_grad_hook(self._mask_accumulated)  # type: ignore[no-untyped-call]
        else:
            self._hook = parameter.register_hook(self._mask_gradient)  # type: ignore[no-untyped-call]

    def unwatch(self) -> None:
        """Take the hook off."""
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._hooked = None

    # -- gradients ----------------------------------------------------------------------------
    def _mask_gradient(self, gradient: Tensor) -> Tensor:
        self._gradient_seen()
        self._collect(gradient.detach())
        return gradient * self.factor

    def _mask_accumulated(self, parameter: Tensor) -> None:
        """The same when only the accumulated gradient can be seen: weights that are out keep what they had."""
        assert parameter.grad is not None
        gradient = local_tensor(parameter.grad)
        self._gradient_seen()
        self._collect(gradient if self._before is None else gradient - self._before)
        if self._before is not None:
            torch.lerp(self._before, gradient, self.factor, out=gradient)
        else:
            gradient.mul_(self.factor)

    def _collect(self, gradient: Tensor) -> None:
        """Add up what the method wants to see, before it is masked."""
        if self.collecting:
            self.collected = gradient.clone() if self.collected is None else self.collected.add_(gradient)

    def take_collected(self) -> Tensor:
        """The gradient of the whole parameter that was collected, 0 where none was seen; what follows begins anew."""
        found = torch.zeros_like(self.local) if self.collected is None else self.collected
        self.collected = None
        return whole_like(found, self.parameter)

    def _gradient_seen(self) -> None:
        self.on_gradient()
        if self.active is None or (self._hooked is not None and self._hooked.grad is None):
            self.active = self.takes_part
        elif self.active is not self.takes_part:
            self.active = torch.maximum(self.active, self.takes_part)

    # -- values -------------------------------------------------------------------------------
    def draw(self, chosen: Sample | Tensor | None, *, first: bool) -> None:
        """Put the values at rest aside and leave in place those that take part.

        `chosen` is what to draw, or float probabilities to fade by; None is the target. `first` says
        whether this is the first pass since the last optimizer step.
        """
        self.watch()
        local = self.local
        self._follow(local)
        self._before = None
        if not first:
            self._begin_accumulation()
        if self.shadow is None or self.shadow.shape != local.shape:
            self.shadow = torch.empty_like(local)
        self.faded = isinstance(chosen, Tensor)
        if chosen is None:
            self.factor = self.inside
        else:
            # What an earlier pass of this step used is still needed as `active`.
            if self._drawn is None or self._drawn is self.active or self._drawn.shape != local.shape:
                self._drawn = torch.empty_like(self.inside)
            self.factor = self._drawn
        if not (isinstance(chosen, Sample) and self._sample(chosen, local)):
            if isinstance(chosen, Sample):
                chosen = chosen.chosen(self.shard, self.target)
            if chosen is not None:
                chosen = chosen if self.within is None else chosen * self.within
                # copy_ of bytes is vectorised, of bools it is not.
                self.factor.copy_(chosen if self.faded else chosen.view(torch.uint8))
            self.shadow.copy_(local)
            self.drawn = True
            local.mul_(self.factor)
        self.takes_part = (self.factor > 0).to(self.factor.dtype) if self.faded else self.factor

    def _sample(self, chosen: Sample, local: Tensor) -> bool:
        """Draw in one pass over the weights, where that can be done."""
        assert self.shadow is not None
        return self.within is None and chosen.draw(
            self.shard, self.target, local, self.shadow, self.factor, self._there
        )

    def _begin_accumulation(self) -> None:
        """Remember what earlier passes of this step have left, or that it was zeroed meanwhile."""
        gradient = self.parameter.grad
        if gradient is None or not local_tensor(gradient).any():
            self.active = self.collected = None
        elif is_sharded(self.parameter):
            self._before = local_tensor(gradient).clone()

    def undraw(self, who: Tensor | None = None) -> None:
        """Back to rest: weights of `who` (default: of this pass) keep what is in place, others what they had.

        ``lerp`` with 0 and 1 gives either end exactly. What the user changed in place meanwhile on
        weights that take part (as sharpness-aware minimisation does) stays.
        """
        if not self.drawn:
            return
        assert self.shadow is not None
        local = self.local
        if who is None and self.faded:
            local.copy_(self.shadow)
        else:
            torch.lerp(self.shadow, local, self.factor if who is None else who, out=local)

    def cut(self) -> None:
        """Annealing is over: weights outside the target become exactly +0, whatever they were."""
        self._follow(self.local)
        self.local.masked_fill_(~self.target, 0.0)

    def zero(self, tensor: Tensor) -> None:
        """Keep the entries of a tensor of this shape outside the target at 0, in place (+0: hence the sum)."""
        tensor.mul_(self.inside).add_(0.0)

    def judged_values(self) -> Tensor:
        """The target's weights and 0 elsewhere, as a new tensor."""
        local = self.local
        if self.drawn:
            assert self.shadow is not None
            local = self.shadow if self.faded else torch.lerp(self.shadow, local, self.factor)
        return local * self.inside

    def copy_of_values(self) -> Tensor:
        """What is in place."""
        return self.local.clone()

    def swap(self, values: Tensor, *, seen: bool) -> None:
        """Put values in place, noticed by autograd's version counter or not.

        Unnoticed where the former values come back, to the bit, before any backward pass can look:
        a network may be judged between a forward pass and its backward pass.
        """
        (self.local if seen else local_tensor(self.parameter.data)).copy_(values)
