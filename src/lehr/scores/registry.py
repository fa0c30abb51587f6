"""The scores by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from lehr.base.registry import Registry


class Score(Protocol):
    """A pure function from a network to the importance of each listed parameter's weights.

    `parameters` are full, detached tensors by name; the result has the same names and shapes.
    """

    def __call__(self, model: nn.Module, parameters: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]: ...


scores: Registry[Score] = Registry("score")
"""Every score by name; a new one is one file that registers itself."""
