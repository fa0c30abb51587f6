"""Monte Carlo dropout: one network, asked several times."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lehr.base.errors import require
from lehr.models.wrappers.wrapper import Make, SelfEnsemble, wrappers

PASSES = 10
SEED = 0


class MonteCarloDropout(SelfEnsemble):
    """Dropout before every linear and convolutional layer but the first, while it trains and when it is judged (Gal & Ghahramani 2016, 1506.02142).

    Judged, it gives logits of the mean of the probabilities of several passes, the same ones every time.

    Args:
        network: any.
        p: share of the activations that is dropped.
        passes: when it is judged.

    >>> net = MonteCarloDropout(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), 0.5).eval()
    >>> x = torch.ones(5, 3)
    >>> bool((net(x) == net(x)).all())
    True
    """

    def __init__(self, network: nn.Module, p: float, passes: int = PASSES) -> None:
        super().__init__()
        self.network, self.p, self.passes = network, p, passes
        layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
        for layer in layers[1:]:
            layer.register_forward_pre_hook(_Drop(p))

    def learn(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)
        return out

    def members(self, x: Tensor) -> Tensor:
        devices = [x.device] if x.is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(SEED)
            return torch.stack([self.network(x) for _ in range(self.passes)])


class _Drop:
    """A hook that can be copied and saved."""

    def __init__(self, p: float) -> None:
        self.p = p

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (F.dropout(inputs[0], self.p, training=True), *inputs[1:])


@wrappers.register("dropout")
def dropout(make: Make, number: float, sizes: dict[str, Any]) -> MonteCarloDropout:
    """``dropout-P``."""
    require(0 < number < 1, f"dropout drops {number:g} of the activations: give a share between 0 and 1, dropout-0.1")
    return MonteCarloDropout(make(**sizes), number)
