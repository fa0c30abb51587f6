"""From the logits of every member to those of the ensemble."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor


def mean_logits(members: Tensor) -> Tensor:
    """``mean_m z_m`` of logits (M, N, classes): a geometric mean of probabilities.

    >>> import torch
    >>> mean_logits(torch.tensor([[[0.0, 2.0]], [[2.0, 2.0]]])).tolist()
    [[1.0, 2.0]]
    """
    return members.mean(0)


def mean_probabilities(members: Tensor) -> Tensor:
    """``log mean_m softmax(z_m)`` of logits (M, N, classes), which are logits of the mean of the probabilities.

    >>> import torch
    >>> mean_probabilities(torch.tensor([[[0.0, 0.0]], [[0.0, 0.0]]])).exp().tolist()
    [[0.5, 0.5]]
    """
    return members.log_softmax(-1).logsumexp(0) - math.log(len(members))


COMBINE: dict[str, Callable[[Tensor], Tensor]] = {"logits": mean_logits, "probabilities": mean_probabilities}
"""What an ensemble predicts from, by name."""
