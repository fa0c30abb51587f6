"""The shape of what is kept or dropped as one: a granularity.

A granularity folds the importance of weights into the importance of granules, and unfolds the
chosen granules into a mask. Counts are exact in granules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from lehr.base.errors import unknown


class Granularity(Protocol):
    """How weights group into granules."""

    def fold(self, scores: Tensor) -> Tensor:
        """Importance of each granule, 1-d, from importance of each weight."""
        ...

    def unfold(self, kept: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A bool tensor of the given shape from one bool a granule."""
        ...


@dataclass(frozen=True)
class Unstructured:
    """Every weight is a granule of its own.

    >>> import torch
    >>> Unstructured().fold(torch.ones(2, 3)).shape
    torch.Size([6])
    """

    def fold(self, scores: Tensor) -> Tensor:
        return scores.reshape(-1)

    def unfold(self, kept: Tensor, shape: tuple[int, ...]) -> Tensor:
        return kept.reshape(shape)


def parse(text: str) -> Granularity:
    """The granularity that a string names.

    >>> parse("unstructured")
    Unstructured()
    """
    if text == "unstructured":
        return Unstructured()
    raise unknown("granularity", text, ["unstructured"])
