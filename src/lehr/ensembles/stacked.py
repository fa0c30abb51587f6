"""`Ensemble`: a module whose members run at once on stacked weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from lehr.base.errors import LehrError, one_line, require, unknown
from lehr.ensembles.combine import COMBINE


class Ensemble(nn.Module):
    """M networks of one architecture; their outputs together are those of the ensemble.

    ``forward`` gives logits (N, classes), of the mean of the members' probabilities or of their logits; `members` gives all of them. With
    `batched` the weights lie stacked, (M, ...), and one `torch.func.vmap` runs all members; else one after the other.

    Args:
        networks: at least one, with the same parameters and buffers; they are copied. Dropout and the like is off.
        combine: ``probabilities`` (arithmetic mean) or ``logits`` (geometric).
        batched: whether members run at once.

    Raises:
        LehrError: the networks are unlike, or there is none.

    >>> ensemble = Ensemble([nn.Linear(4, 3), nn.Linear(4, 3)])
    >>> ensemble.members(torch.zeros(5, 4)).shape, ensemble(torch.zeros(5, 4)).shape
    (torch.Size([2, 5, 3]), torch.Size([5, 3]))
    """

    def __init__(self, networks: Sequence[nn.Module], *, combine: str = "probabilities", batched: bool = True) -> None:
        super().__init__()
        require(len(networks) > 0, "an ensemble has no networks: give at least one")
        if combine not in COMBINE:
            raise unknown("combination", combine, COMBINE)
        first = _shapes(networks[0])
        for i, network in enumerate(networks):
            differing = sorted(
                name for name in first | _shapes(network) if first.get(name) != _shapes(network).get(name)
            )
            if differing:
                raise LehrError(
                    f"member {i} differs from the first in {', '.join(differing[:3])}: give networks of one architecture"
                )
        self.combine, self.batched, self.count = combine, batched, len(networks)
        own = [copy.deepcopy(network).eval().requires_grad_(False) for network in networks]
        if not batched:
            self.networks = nn.ModuleList(own)
            return
        # The skeleton holds no weights and is no submodule, so that it is in no state dict.
        self._skeleton = [copy.deepcopy(own[0]).to("meta")]
        parameters, buffers = stack_module_state(own)
        self._names: dict[str, str] = {}
        for name, tensor in {**parameters, **buffers}.items():
            self._names[name] = key = name.replace(".", "|")
            self.register_buffer(key, tensor.detach())

    def members(self, x: Tensor) -> Tensor:
        """The logits of every member, (M, N, classes)."""
        if not self.batched:
            return torch.stack([network(x) for network in self.networks])
        state = {name: self.get_buffer(key) for name, key in self._names.items()}

        def one(own: dict[str, Tensor]) -> Tensor:
            result: Tensor = functional_call(self._skeleton[0], own, (x,))
            return result

        try:
            with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention know no stacks
                result: Tensor = vmap(one, randomness="error")(state)
        except RuntimeError as error:
            raise LehrError(f"the members cannot run at once ({one_line(error, 200)}): give batched=False") from error
        return result

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the ensemble, (N, classes)."""
        return COMBINE[self.combine](self.members(x))

    def train(self, mode: bool = True) -> Ensemble:
        """Members are finished and stay in evaluation mode."""
        return super().train(False)


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
