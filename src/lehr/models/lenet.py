"""LeNet-5 (LeCun et al. 1998), as the pruning literature uses it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lehr.models.registry import Shape, models


class LeNet5(nn.Module):
    """Two 5x5 convolutions (20, 50 filters) with pooling, then 500 hidden units (the Caffe variant).

    Images under 20 pixels are padded by 2 in the convolutions, so that 8x8 digits fit.
    """

    def __init__(self, num_classes: int, input_shape: Shape) -> None:
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
def lenet5(num_classes: int = 10, input_shape: Shape = (1, 28, 28)) -> nn.Module:
    """LeNet-5 (Caffe), 431,080 parameters on 28x28 images.

    >>> sum(p.numel() for p in lenet5().parameters())
    431080
    """
    return LeNet5(num_classes, input_shape)
