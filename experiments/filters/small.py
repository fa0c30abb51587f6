"""A residual network small enough for two cores, for `--model experiments/filters/small.py:resnet8`."""

from lehr.models.resnet import BasicBlock, ResNet


def resnet8(num_classes: int, input_shape: tuple[int, ...]) -> ResNet:
    """Three stages of one block, 16-32-64 channels: 75,290 parameters."""
    return ResNet(BasicBlock, [1, 1, 1], 16, num_classes, input_shape, projected=False)
