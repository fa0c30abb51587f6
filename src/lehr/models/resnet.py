"""Residual networks for 32x32 images (He et al. 2015, 1512.03385)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lehr.models.registry import InputShape, models


class PaddedShortcut(nn.Module):
    """Option A of the paper: every second pixel, new channels zero; no parameters.

    >>> import torch
    >>> PaddedShortcut(16, 32)(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 32, 4, 4])
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.before = (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Option B: a 1x1 convolution with batch-norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch-norm around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, projected: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = projection(inputs, outputs, stride) if projected else PaddedShortcut(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """A 3x3 stem, stages of basic blocks that halve the image and double the width, and a linear head."""

    def __init__(
        self, blocks: list[int], width: int, num_classes: int, input_shape: InputShape, *, projected: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_shape[0], width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages = []
        inputs = width
        for stage, count in enumerate(blocks):
            outputs = width * 2**stage
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(BasicBlock(inputs, outputs, stride, projected=projected))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        out = self.blocks(F.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.head(out.mean((2, 3)))
        return logits


@models.register("resnet20")
def resnet20(num_classes: int = 10, input_shape: InputShape = (3, 32, 32)) -> nn.Module:
    """Three stages of three blocks, 16-32-64 channels, parameter-free shortcuts: 269,722 parameters (0.27 M).

    >>> sum(p.numel() for p in resnet20().parameters())
    269722
    """
    return ResNet([3, 3, 3], 16, num_classes, input_shape, projected=False)


@models.register("resnet18")
def resnet18(num_classes: int = 10, input_shape: InputShape = (3, 32, 32)) -> nn.Module:
    """Four stages of two blocks, 64 to 512 channels, 3x3 stem: 11,173,962 parameters with 10 classes.

    >>> sum(p.numel() for p in resnet18().parameters())
    11173962
    """
    return ResNet([2, 2, 2, 2], 64, num_classes, input_shape, projected=True)
