"""Small networks for two cores: `--model experiments/pipeline/narrow.py:vgg16` and `:vit`."""

from torch import nn

from lehr.models.vit import ViT

WIDTHS = (16, 16, None, 32, 32, None, 64, 64, 64, None, 128, 128, 128, None, 128, 128, 128, None)


def vgg16(num_classes: int, input_shape: tuple[int, ...]) -> nn.Sequential:
    """VGG-16 with batch-norm at a quarter of its width: 0.92 M parameters at 3 x 32 x 32."""
    layers: list[nn.Module] = []
    channels = input_shape[0]
    for width in WIDTHS:
        if width is None:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, num_classes))


def vit(num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    """A ViT of width 64, 4 blocks and 4 heads: 0.2 M parameters at 1 x 28 x 28."""
    return ViT(64, 4, 4, num_classes, input_shape)
