"""MIMO: one network that answers several inputs at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lehr.base.errors import require
from lehr.models.wrappers.wrapper import Make, SelfEnsemble, members, wrappers


class Mimo(SelfEnsemble):
    """Multi-input multi-output (Havasi et al. 2021, 2010.06610): M inputs beside each other in the channels, M heads.

    While it trains every head gets the batch in an order of its own and its logits are put back in that of the batch, (N, M, classes). When it
    is judged all heads get the same inputs and the mean of their probabilities is given, as logits (N, classes).

    Args:
        network: takes ``M C`` channels, gives ``M classes`` logits.
        count: M.

    >>> shared = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 4, 2 * 5))
    >>> mimo = Mimo(shared, 2)
    >>> mimo(torch.zeros(7, 3, 2, 2)).shape, mimo.eval()(torch.zeros(7, 3, 2, 2)).shape
    (torch.Size([7, 2, 5]), torch.Size([7, 5]))
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count

    def members(self, x: Tensor) -> Tensor:
        return self._heads(torch.cat([x] * self.count, 1)).movedim(1, 0)

    def learn(self, x: Tensor) -> Tensor:
        orders = [torch.randperm(len(x), device=x.device) for _ in range(self.count)]
        heads = self._heads(torch.cat([x[order] for order in orders], 1))
        return torch.stack([heads[order.argsort(), i] for i, order in enumerate(orders)], 1)

    def _heads(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)
        return out.reshape(len(x), self.count, -1)


@wrappers.register("mimo")
def mimo(make: Make, number: float, sizes: dict[str, Any]) -> Mimo:
    """``mimo-M``."""
    count = members(number, "mimo")
    shape = sizes.get("input_shape", ())
    require(len(shape) == 3, "mimo puts images beside each other and the data holds none: choose other data")
    wide = {**sizes, "num_classes": count * sizes["num_classes"], "input_shape": (count * shape[0], *shape[1:])}
    return Mimo(make(**wide), count)
