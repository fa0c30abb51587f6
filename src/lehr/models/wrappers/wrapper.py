"""What a wrapper is: from a factory and a number to a network with several answers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from lehr.base.errors import require
from lehr.base.registry import Registry


class SelfEnsemble(nn.Module, ABC):
    """A network that is an ensemble by itself: judged, it gives logits (N, classes) of the mean of its members' probabilities."""

    @abstractmethod
    def learn(self, x: Tensor) -> Tensor:
        """Logits while it trains: (N, classes), or (N, M, classes) where each member answers for every input."""

    @abstractmethod
    def members(self, x: Tensor) -> Tensor:
        """The logits of every member in evaluation mode, (M, N, classes)."""

    def forward(self, x: Tensor) -> Tensor:
        """As it is asked for: to learn, or to be judged."""
        return self.learn(x) if self.training else mean_probabilities(self.members(x))


Make = Callable[..., nn.Module]
Wrapper = Callable[[Make, float, dict[str, Any]], SelfEnsemble]

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


def mean_probabilities(members: Tensor) -> Tensor:
    """``log mean_m softmax(z_m)`` of logits (M, N, classes), which are logits of the mean of the probabilities.

    >>> import torch
    >>> mean_probabilities(torch.tensor([[[0.0, 0.0]], [[0.0, 0.0]]])).exp().tolist()
    [[0.5, 0.5]]
    """
    return members.log_softmax(-1).logsumexp(0) - math.log(len(members))
