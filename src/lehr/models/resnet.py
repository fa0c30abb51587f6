"""Residual networks (He et al. 2015, 1512.03385), for images of 32 pixels and of 224."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lehr.models.registry import Shape, models

LARGE = 64  # images of this side or more get the ImageNet stem, which quarters them


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

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, *, projected: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != width:
            self.shortcut = projection(inputs, width, stride) if projected else PaddedShortcut(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1 down, 3x3 (with the stride), 1x1 up to four times the width, around a projected shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, *, projected: bool) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = nn.Identity() if same else projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.shortcut(x))


class ResNet(nn.Module):
    """A stem, stages of blocks that halve the image and double the width, and a linear head.

    The stem is a 3x3 convolution for small images, and for large ones 7x7 of stride 2 with a max-pool.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: list[int],
        width: int,
        num_classes: int,
        input_shape: Shape,
        *,
        projected: bool = True,
    ) -> None:
        super().__init__()
        large = projected and min(input_shape[1:]) >= LARGE
        self.conv1 = nn.Conv2d(input_shape[0], width, *((7, 2, 3) if large else (3, 1, 1)), bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool: nn.Module = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        stages: list[nn.Module] = []
        inputs = width
        for stage, count in enumerate(blocks):
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                stages.append(block(inputs, width * 2**stage, stride, projected=projected))
                inputs = width * 2**stage * block.expansion
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        out = self.blocks(self.pool(F.relu(self.bn1(self.conv1(x)))))
        logits: Tensor = self.head(out.mean((2, 3)))
        return logits


def _small(blocks: int, num_classes: int, input_shape: Shape) -> nn.Module:
    """Section 4.2 of the paper: three stages, 16-32-64 channels, parameter-free shortcuts."""
    return ResNet(BasicBlock, [blocks] * 3, 16, num_classes, input_shape, projected=False)


@models.register("resnet20")
def resnet20(num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    """Three stages of three blocks, 16-32-64 channels, parameter-free shortcuts: 269,722 parameters (0.27 M).

    >>> sum(p.numel() for p in resnet20().parameters())
    269722
    """
    return _small(3, num_classes, input_shape)


@models.register("resnet32")
def resnet32(num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    """As ResNet-20 with stages of five blocks: 464,154 parameters (0.46 M)."""
    return _small(5, num_classes, input_shape)


@models.register("resnet56")
def resnet56(num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    """As ResNet-20 with stages of nine blocks: 853,018 parameters (0.85 M)."""
    return _small(9, num_classes, input_shape)


@models.register("resnet18")
def resnet18(num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    """Four stages of two blocks, 64 to 512 channels: 11,173,962 parameters with 10 classes and the 3x3 stem.

    Images of 64 pixels or more get the 7x7 stem: 11,689,512 with 1,000 classes.

    >>> sum(p.numel() for p in resnet18().parameters())
    11173962
    """
    return ResNet(BasicBlock, [2, 2, 2, 2], 64, num_classes, input_shape)


@models.register("resnet34")
def resnet34(num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    """As ResNet-18 with 3, 4, 6, 3 blocks: 21,797,672 parameters on ImageNet."""
    return ResNet(BasicBlock, [3, 4, 6, 3], 64, num_classes, input_shape)


@models.register("resnet50")
def resnet50(num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    """Bottlenecks, 3, 4, 6, 3 of them: 25,557,032 parameters on ImageNet."""
    return ResNet(Bottleneck, [3, 4, 6, 3], 64, num_classes, input_shape)
