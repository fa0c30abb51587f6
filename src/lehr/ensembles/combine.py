"""From the logits of every member to those of the ensemble."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lehr.models.wrappers import mean_probabilities


def mean_logits(members: Tensor) -> Tensor:
    """``mean_m z_m`` of logits (M, N, classes): a geometric mean of probabilities.

    >>> import torch
    >>> mean_logits(torch.tensor([[[0.0, 2.0]], [[2.0, 2.0]]])).tolist()
    [[1.0, 2.0]]
    """
    return members.mean(0)


COMBINE: dict[str, Callable[[Tensor], Tensor]] = {"logits": mean_logits, "probabilities": mean_probabilities}
"""What an ensemble predicts from, by name."""
