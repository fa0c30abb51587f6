"""The scores by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from lehr.base.registry import Registry

Batches = Sequence[tuple[Tensor, Tensor]]


class Score(Protocol):
    """A pure function from a network to the importance of each listed parameter's weights.

    `parameters` are full, detached tensors by name; the result has the same names and shapes. One that looks at data takes
    `batches` of (inputs, targets) too.

    >>> import torch
    >>> def bottom(model, parameters, seed):
    ...     return {name: -tensor.abs() for name, tensor in parameters.items()}
    >>> score: Score = bottom
    >>> score(nn.Identity(), {"w": torch.tensor([-2.0, 1.0])}, 0)
    {'w': tensor([-2., -1.])}
    """

    def __call__(self, model: nn.Module, parameters: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class DataScore:
    """A score that looks at batches.

    Args:
        function: called with the network, its parameters, the seed, and `batches`.
        rounds: in how many steps a mask is chosen with it, unless told otherwise: density ``d^(k / rounds)`` after round k.

    >>> import torch
    >>> def weight_times_batches(model, parameters, seed, batches):
    ...     return {name: tensor.abs() * len(batches) for name, tensor in parameters.items()}
    >>> score = DataScore(weight_times_batches)
    >>> score(nn.Identity(), {"w": torch.tensor([-2.0, 1.0])}, 0, [None, None])
    {'w': tensor([4., 2.])}
    """

    function: Any
    rounds: int = 1

    def __call__(
        self, model: nn.Module, parameters: Mapping[str, Tensor], seed: int, batches: Batches
    ) -> dict[str, Tensor]:
        """The importance of each weight."""
        found: dict[str, Tensor] = self.function(model, parameters, seed, batches=batches)
        return found


scores: Registry[Score | DataScore] = Registry("score")
"""Every score by name; a new one is one file that registers itself."""
