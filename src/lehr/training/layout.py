"""How images lie in memory on their way through a network: channels last where that is faster on a CPU."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

WIDEST = 128  # channels of the widest convolution up to which channels last was measured to be faster


def input_layout(model: nn.Module, inputs: Tensor) -> torch.memory_format:
    """``torch.channels_last`` for images on a CPU whose network has narrow convolutions alone, else ``torch.contiguous_format``.

    Only inputs are laid out; what the convolutions make of them follows, and weights stay as they are. Measured (``benchmarks/layout.py``, Zen 4, one
    thread; CPU time of a training step in fp32, in bf16, and of judging in fp32, over that of contiguous inputs): LeNet-5 0.72, 0.52, 0.49;
    ResNet-20 0.74, 0.99, 0.87; VGG-16 at a quarter of its width 0.77, 0.75, 0.70; but VGG-16 1.10, 1.02, 1.00, ResNet-18 1.02, 1.02, 1.06 and
    WRN-16-8 1.05, 1.04, 1.03, which have wider ones.

    Args:
        model: as it will be called; a copy of it is tried on the inputs in training mode, for code that takes a ``view`` of what it cannot.
        inputs: a few examples, (n, C, H, W).

    >>> input_layout(nn.Conv2d(3, 16, 3), torch.zeros(2, 3, 8, 8)), input_layout(nn.Conv2d(3, 256, 3), torch.zeros(2, 3, 8, 8))
    (torch.channels_last, torch.contiguous_format)
    """
    widths = [max(m.in_channels, m.out_channels) for m in model.modules() if isinstance(m, nn.Conv2d)]
    if inputs.ndim != 4 or inputs.device.type != "cpu" or not widths or max(widths) > WIDEST:
        return torch.contiguous_format
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            copy.deepcopy(model).train()(inputs.to(memory_format=torch.channels_last))
        except Exception:  # whatever a network says to a trial: it is called as its author has it
            return torch.contiguous_format
    return torch.channels_last
