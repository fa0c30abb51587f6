"""BatchEnsemble: members that share their weights but for factors of rank 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lehr.base.errors import LehrError
from lehr.models.wrappers.wrapper import Make, SelfEnsemble, members, wrappers

Layer = nn.Linear | nn.Conv2d


class RankOne(nn.Module):
    """A layer whose weights are ``W * (s_m r_m^T)`` for member m (Wen et al. 2020, 2002.06715).

    Rows of a batch are those of the members in turn, as many for each, unless one member is `asked` for all of them; ``y = s_m * (W (r_m * x)) + b_m``; r and s begin as N(1, 0.5).

    Args:
        layer: gives W, and b to begin with.
        count: of members.

    >>> torch.manual_seed(0).initial_seed()
    0
    >>> RankOne(nn.Linear(3, 2), 4)(torch.zeros(8, 3)).shape
    torch.Size([8, 2])
    """

    def __init__(self, layer: Layer, count: int) -> None:
        super().__init__()
        self.layer, self.count = layer, count
        self.asked: int | None = None  # the member that answers for all rows
        outputs = layer.weight.shape[0]
        inputs = layer.weight.shape[1] * (layer.groups if isinstance(layer, nn.Conv2d) else 1)
        self.r = nn.Parameter(_factors(count, inputs))
        self.s = nn.Parameter(_factors(count, outputs))
        self.b = None if layer.bias is None else nn.Parameter(layer.bias.detach().repeat(count, 1))
        layer.bias = None

    def vectors(self) -> tuple[nn.Parameter, ...]:
        """One vector a member, stacked: weight decay spares them as it does a bias."""
        return (self.r, self.s) if self.b is None else (self.r, self.s, self.b)

    def forward(self, x: Tensor) -> Tensor:
        if self.asked is not None:
            return self._of(self.asked, x)
        whose = torch.arange(len(x), device=x.device) * self.count // max(1, len(x))
        out: Tensor = self.layer(x * self._beside(self.r[whose], x))
        out = out * self._beside(self.s[whose], out)
        return out if self.b is None else out + self._beside(self.b[whose], out)

    def _of(self, member: int, x: Tensor) -> Tensor:
        """All rows as one member has them: with its factors in the weights, which are far fewer than the activations."""
        layer, weight = self.layer, self.layer.weight
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        r = self.r[member].reshape(groups, -1).repeat_interleave(len(weight) // groups, 0)  # inputs of every output
        factors = self.s[member].unsqueeze(1) * r
        weight = weight * factors.reshape(*factors.shape, *[1] * (weight.ndim - 2))
        out: Tensor = functional_call(layer, {"weight": weight}, x)
        return out if self.b is None else out + self._beside(self.b[member].expand(len(x), -1), out)

    def _beside(self, factors: Tensor, x: Tensor) -> Tensor:
        """In the shape that multiplies, channels are second in images and last elsewhere, and in the precision of what is multiplied."""
        shape = (-1, 1, 1) if isinstance(self.layer, nn.Conv2d) else (*[1] * (x.ndim - 2), -1)
        return factors.reshape(len(x), *shape).to(x.dtype)


class BatchEnsemble(SelfEnsemble):
    """A network all of whose linear and convolutional layers are `RankOne`.

    While it trains every member has its part of a batch, so that a step costs what one of the network does: logits (N, classes). When it is
    judged all members have all inputs.

    >>> net = BatchEnsemble(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), 2)
    >>> net(torch.zeros(6, 3)).shape, net.eval()(torch.zeros(6, 3)).shape
    (torch.Size([6, 2]), torch.Size([6, 2]))
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count
        layers = [(owner, name, child) for owner in network.modules() for name, child in owner.named_children()]
        for owner, name, child in layers:
            if isinstance(owner, nn.MultiheadAttention | nn.TransformerEncoderLayer):
                raise LehrError(
                    f"{type(owner).__name__} reads the weights of its layers itself: choose a network without it"
                )
            if isinstance(child, Layer) and type(child) in (nn.Linear, nn.Conv2d):
                setattr(owner, name, RankOne(child, count))

    def learn(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)
        return out

    def members(self, x: Tensor) -> Tensor:
        return torch.stack([self._answer(member, x) for member in range(self.count)])

    def _answer(self, member: int, x: Tensor) -> Tensor:
        layers = [module for module in self.modules() if isinstance(module, RankOne)]
        try:
            for layer in layers:
                layer.asked = member
            out: Tensor = self.network(x)
        finally:
            for layer in layers:
                layer.asked = None
        return out


def _factors(count: int, width: int) -> Tensor:
    """N(1, 0.5), as the authors have it for images: with random signs members of a small network spoil each other's shared weights."""
    return 1 + 0.5 * torch.randn(count, width)


@wrappers.register("batch-ensemble")
def batch_ensemble(make: Make, number: float, sizes: dict[str, Any]) -> BatchEnsemble:
    """``batch-ensemble-M``."""
    return BatchEnsemble(make(**sizes), members(number, "batch-ensemble"))
