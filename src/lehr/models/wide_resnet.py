"""Wide residual networks (Zagoruyko & Komodakis 2016, 1605.07146): ``wrn_D_K``, depth D = 6 n + 4, K times as wide."""

from __future__ import annotations

import re
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from lehr.base.errors import LehrError
from lehr.models.registry import Factory, Shape, families


class PreactivationBlock(nn.Module):
    """Batch-norm, ReLU and a 3x3 convolution, twice; where the width changes the shortcut is a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.same = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = nn.Identity() if self.same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active))))
        shortcut: Tensor = x if self.same else self.shortcut(active)
        return out + shortcut


class WideResNet(nn.Module):
    """A 3x3 convolution to 16 channels, three stages of 16 K, 32 K, 64 K channels, batch-norm, and a linear head."""

    def __init__(self, depth: int, widening: int, num_classes: int, input_shape: Shape) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(input_shape[0], 16, 3, 1, 1, bias=False)
        stages: list[nn.Module] = []
        inputs = 16
        for stage in range(3):
            outputs = 16 * widening * 2**stage
            for number in range(blocks):
                stages.append(PreactivationBlock(inputs, outputs, 2 if stage > 0 and number == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(inputs)
        self.head = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn(self.blocks(self.conv1(x))))
        logits: Tensor = self.head(out.mean((2, 3)))
        return logits


@families.register("wrn_D_K")
def wide_resnet(name: str) -> Factory | None:
    """The network that a name such as ``wrn_28_10`` means, or None for any other name.

    >>> sum(p.numel() for p in wide_resnet("wrn_16_4")(10, (3, 32, 32)).parameters())
    2748890
    """
    found = re.fullmatch(r"wrn_(\d+)_(\d+)", name)
    if found is None:
        return None
    depth, widening = int(found[1]), int(found[2])
    if depth < 10 or depth % 6 != 4 or widening < 1:
        raise LehrError(f"{name} has depth {depth}: wide residual networks have 6 n + 4 layers, such as wrn_28_10")
    return partial(_made, depth, widening)


def _made(depth: int, widening: int, num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    return WideResNet(depth, widening, num_classes, input_shape)
