"""What a wrapper is: from a factory and a number to a factory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from lehr.base.errors import require
from lehr.base.registry import Registry

Make = Callable[..., nn.Module]
Wrapper = Callable[[Make, float, dict[str, Any]], nn.Module]

wrappers: Registry[Wrapper] = Registry("wrapper of models")
"""By name: a network out of the factory of another, the number in the name, and the sizes of the data."""


def members(number: float, what: str) -> int:
    """The number as one of members.

    >>> members(3.0, "mimo")
    3
    """
    require(
        number == int(number) and 2 <= number <= 64, f"{what} has {number:g} members: give a whole number from 2 to 64"
    )
    return int(number)


def together(logits: Tensor) -> Tensor:
    """``log mean_m softmax(z_m)`` of logits (N, M, classes): (N, classes).

    >>> import torch
    >>> together(torch.zeros(1, 3, 2)).exp().tolist()
    [[0.5, 0.5]]
    """
    return logits.log_softmax(-1).logsumexp(1) - math.log(logits.shape[1])
