"""LeNet-300-100 and LeNet-5 (LeCun et al. 1998), as the pruning literature uses them."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from lehr.models.registry import InputShape, models


class MLP(nn.Module):
    """Fully connected layers with ReLU between them.

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
def lenet_300_100(num_classes: int = 10, input_shape: InputShape = (1, 28, 28)) -> nn.Module:
    """784-300-100-10, 266,610 parameters on 28x28 images.

    >>> sum(p.numel() for p in lenet_300_100().parameters())
    266610
    """
    return MLP([prod(input_shape), 300, 100, num_classes])


class LeNet5(nn.Module):
    """Two 5x5 convolutions (20, 50 filters) with pooling, then 500 hidden units (the Caffe variant).

    Images under 20 pixels are padded by 2 in the convolutions, so that 8x8 digits fit.
    """

    def __init__(self, num_classes: int, input_shape: InputShape) -> None:
        super().__init__()
        channels, height, width = input_shape
        padding = 2 if min(height, width) < 20 else 0
        self.features = nn.Sequential(
            nn.Conv2d(channels, 20, 5, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        with torch.no_grad():
            flat = self.features(torch.zeros(1, *input_shape)).shape[1]
        self.hidden = nn.Linear(flat, 500)
        self.head = nn.Linear(500, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.hidden(self.features(x)).relu())
        return out


@models.register("lenet5")
def lenet5(num_classes: int = 10, input_shape: InputShape = (1, 28, 28)) -> nn.Module:
    """LeNet-5 (Caffe), 431,080 parameters on 28x28 images.

    >>> sum(p.numel() for p in lenet5().parameters())
    431080
    """
    return LeNet5(num_classes, input_shape)
