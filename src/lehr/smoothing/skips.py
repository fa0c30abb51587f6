"""Soft skip connections."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def skip(x: Tensor, like: Tensor) -> Tensor:
    """What goes around a convolution: its input in the shape of its output, without any weight.

    Pixels are averaged to the output's height and width, and channels are cut off or filled up with 0. The code of ToST
    (2206.12755) puts a learned 1 x 1 convolution there, whose weights then must not count as the network's.

    Args:
        x: the input, (N, C, H, W).
        like: the output, (N, C', H', W').

    >>> import torch
    >>> skip(torch.ones(1, 2, 4, 4), torch.zeros(1, 3, 2, 2))[0, :, 0, 0].tolist()
    [1.0, 1.0, 0.0]
    """
    if x.shape[2:] != like.shape[2:]:
        x = F.adaptive_avg_pool2d(x, (like.shape[-2], like.shape[-1]))
    missing = like.shape[1] - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, 0, missing)) if missing >= 0 else x[:, : like.shape[1]]
