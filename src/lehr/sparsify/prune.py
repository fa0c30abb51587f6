"""`prune`: choose and cut at once."""

from __future__ import annotations

from typing import Any

from torch import nn

from lehr.masks import Mask, select


def prune(model: nn.Module, sparsity: float | None = None, **options: Any) -> Mask:
    """`lehr.select` and ``mask.apply_(model)``: make the zeros, return the mask. Options as in `select`.

    >>> import torch
    >>> layer = nn.Linear(10, 2)
    >>> mask = prune(layer, 0.75)
    >>> int((layer.weight != 0).sum()) == mask.kept == 5
    True
    """
    return select(model, sparsity, **options).apply_(model)
