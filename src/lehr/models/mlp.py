"""Fully connected networks: LeNet-300-100 (LeCun et al. 1998) and the deep narrow one of SynFlow."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from lehr.models.registry import Shape, models


class MLP(nn.Module):
    """Fully connected layers with ReLU between them.

    >>> import torch
    >>> MLP([4, 3, 2])(torch.zeros(5, 1, 2, 2)).shape
    torch.Size([5, 2])
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


@models.register("lenet_300_100")
def lenet_300_100(num_classes: int = 10, input_shape: Shape = (1, 28, 28)) -> nn.Module:
    """784-300-100-10, 266,610 parameters on 28x28 images.

    >>> sum(p.numel() for p in lenet_300_100().parameters())
    266610
    """
    return MLP([prod(input_shape), 300, 100, num_classes])


@models.register("mlp_6_100")
def mlp_6_100(num_classes: int = 10, input_shape: Shape = (1, 28, 28)) -> nn.Module:
    """Six layers, five hidden ones of width 100: 119,910 parameters on 28x28 images (Tanaka et al. 2020, 2006.05467).

    >>> sum(p.numel() for p in mlp_6_100().parameters())
    119910
    """
    return MLP([prod(input_shape), *[100] * 5, num_classes])
