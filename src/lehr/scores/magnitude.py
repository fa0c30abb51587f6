"""Magnitude."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from lehr.scores.registry import scores


@scores.register("magnitude")
def magnitude(model: nn.Module, parameters: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """``|w|`` (Han et al. 2015, 1506.02626).

    >>> import torch
    >>> magnitude(nn.Linear(1, 1), {"w": torch.tensor([-2.0, 1.0])}, seed=0)["w"].tolist()
    [2.0, 1.0]
    """
    return {name: weight.abs() for name, weight in parameters.items()}
