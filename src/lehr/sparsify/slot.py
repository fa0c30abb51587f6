"""`Slot`: what the engine keeps of one masked parameter, and the moves on its values.

Between optimizer steps a parameter is *at rest*: it holds the dense values, or once annealing is
over the sparse ones. For a training pass it is *drawn*: weights that are out read 0 and their
values wait in `shadow`. Writes go through ``detach()``, which shares the version counter, so that
autograd notices a use it cannot stand; the one exception says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lehr.sparsify.part import Part, is_sharded, local_tensor, parameter_of
from lehr.sparsify.wrappers import zero_outside


class Slot:
    """One masked parameter: where it lives, its target mask, and the draw of the present pass."""

    def __init__(self, owner: nn.Module, attribute: str, name: str, on_gradient: Callable[[], None]) -> None:
        self.owner, self.attribute, self.name = owner, attribute, name
        self.on_gradient = on_gradient
        self.part = Part.of(name, self.parameter)
        self.target = torch.ones(self.part.shape, dtype=torch.bool, device=self.local.device)
        self.keep: Tensor = self.target  # who takes part in the present pass
        self.factor: Tensor | None = None  # P itself, where weights are faded and not drawn
        self.active: Tensor | None = None  # who took part in any pass since the last optimizer step
        self.shadow: Tensor | None = None  # the values at rest, while drawn
        self._accumulated: Tensor | None = None
        self._before: Tensor | None = None
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

    def set_target(self, whole: Tensor) -> None:
        """Take up a target mask given for the whole parameter."""
        self.target = self.part.cut(whole).to(self.local.device)
        self.keep, self.factor = self.target, None

    def watch(self) -> None:
        """See that gradients of the present parameter object pass through us."""
        parameter = self.parameter
        if self._hooked is parameter or not parameter.requires_grad:
            return
        self.unwatch()
        self._hooked = parameter
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
        if self.factor is not None:
            return gradient * self.factor
        return torch.where(self.keep, gradient, 0.0)

    def _mask_accumulated(self, parameter: Tensor) -> None:
        """The same when only the accumulated gradient can be seen: weights that are out keep what they had."""
        assert parameter.grad is not None
        gradient = local_tensor(parameter.grad)
        continued = self._accumulated is parameter.grad
        before = self._before if continued and self._before is not None else gradient.new_zeros(())
        self._gradient_seen()
        if self.factor is not None:
            gradient.copy_(before + (gradient - before) * self.factor)
        else:
            torch.where(self.keep, gradient, before, out=gradient)
        self._accumulated, self._before = parameter.grad, gradient.clone()

    def _gradient_seen(self) -> None:
        self.on_gradient()
        first = self.active is None or (self._hooked is not None and self._hooked.grad is None)
        if first or self.active is None:
            self.active = self.keep
        elif self.active is not self.keep:
            self.active = self.active | self.keep

    # -- values -------------------------------------------------------------------------------
    def draw(self, keep: Tensor, factor: Tensor | None = None) -> None:
        """Put the values at rest aside and leave in place those that take part (or all, faded)."""
        self.watch()
        local = self.local
        if self.shadow is None or self.shadow.shape != local.shape or self.shadow.device != local.device:
            self.shadow = torch.empty_like(local)
        self.shadow.copy_(local)
        self.keep, self.factor = keep, factor
        if factor is not None:
            local.mul_(factor)
        else:
            zero_outside(local, keep)

    def undraw(self, who: Tensor | None = None) -> None:
        """Back to rest: weights of `who` (default: of this pass) keep what is in place, others what they had.

        What the user changed in place meanwhile on weights that take part (as sharpness-aware
        minimisation does) stays.
        """
        assert self.shadow is not None, f"{self.name} is not drawn"
        local = self.local
        if self.factor is not None:
            local.copy_(self.shadow)
        else:
            torch.where(self.keep if who is None else who, local, self.shadow, out=local)

    def zero(self) -> None:
        """Set weights outside the target to exactly 0."""
        zero_outside(self.local, self.target)

    def judged_values(self, drawn: bool) -> Tensor:
        """The target's weights and 0 elsewhere, as a new tensor."""
        local = self.local
        if drawn:
            assert self.shadow is not None
            local = self.shadow if self.factor is not None else torch.where(self.keep, local, self.shadow)
        return torch.where(self.target, local, 0.0)

    def swap(self, values: Tensor) -> Tensor:
        """Put values in place and return those that were there, unseen by autograd's version counter.

        Unseen, because the former values come back to the bit before any backward pass can look,
        and a network may be judged between a forward pass and its backward pass.
        """
        data = local_tensor(self.parameter.data)
        former = data.clone()
        data.copy_(values)
        return former
