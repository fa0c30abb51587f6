"""A small convolutional network, for `--model experiments/annealing/small_cnn.py:net`."""

from torch import nn


def net(num_classes: int, input_shape: tuple[int, ...]) -> nn.Sequential:
    """Three convolutions with batch-norm, the last two of stride 2, and a head: 24,314 parameters on one channel."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((input_shape[0], 16, 2), (16, 32, 2), (32, 64, 2)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))
