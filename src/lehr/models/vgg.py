"""VGG with batch-norm (Simonyan & Zisserman 2014, 1409.1556) and a single linear head, as used for 32x32 images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lehr.models.registry import Shape, models


class VGG(nn.Module):
    """Stages of 3x3 convolutions, each ended by a 2x2 max-pool while the image lasts; mean over the rest; a linear head.

    `depths` counts the convolutions of the five stages.
    """

    def __init__(self, depths: Sequence[int], num_classes: int, input_shape: Shape) -> None:
        super().__init__()
        channels, side = input_shape[0], min(input_shape[1:])
        layers: list[nn.Module] = []
        for depth, width in zip(depths, (64, 128, 256, 512, 512), strict=True):
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            if side >= 2:
                layers.append(nn.MaxPool2d(2))
                side //= 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


@models.register("vgg11")
def vgg11(num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    """Eight convolutions: 9,231,114 parameters with 10 classes."""
    return VGG([1, 1, 2, 2, 2], num_classes, input_shape)


@models.register("vgg16")
def vgg16(num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    """Thirteen convolutions: 14,728,266 parameters with 10 classes.

    >>> sum(p.numel() for p in vgg16().parameters())
    14728266
    """
    return VGG([2, 2, 3, 3, 3], num_classes, input_shape)


@models.register("vgg19")
def vgg19(num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    """Sixteen convolutions: 20,040,522 parameters with 10 classes."""
    return VGG([2, 2, 4, 4, 4], num_classes, input_shape)
