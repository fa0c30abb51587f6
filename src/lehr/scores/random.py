"""Random importance: the control that every score must beat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from lehr.base.draws import Purpose, Stream
from lehr.scores.registry import scores


@scores.register("random")
def random(model: nn.Module, parameters: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """``U(0, 1)``, 32 bits a weight, from (seed, name, index) alone: not from any global state.

    >>> layer = nn.Linear(3, 1)
    >>> again = [random(layer, {"w": layer.weight.detach()}, seed=7)["w"].tolist() for _ in range(2)]
    >>> again[0] == again[1]
    True
    """
    result = {}
    for name, weight in parameters.items():
        bits = Stream(seed, name, Purpose.SCORE).bits(0, 2 * weight.numel()).view("<u4")
        importance = torch.from_numpy(bits.astype(np.float64) / 2**32)
        result[name] = importance.reshape(weight.shape).to(weight.device)
    return result
