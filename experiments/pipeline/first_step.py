"""The first step of VGG-16 at a quarter of its width from each initialisation: gradients, and channels without a signal.

python experiments/pipeline/first_step.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from narrow import vgg16
from torch import nn

from lehr.data import load
from lehr.models import initialise

SILENT = 1e-6  # variance over a batch, in units of the input's


def variances(network: nn.Sequential, inputs: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The logits, and the variance of every channel that a convolution gives."""
    found = []
    for layer in network:
        inputs = layer(inputs)
        if isinstance(layer, nn.Conv2d):
            found.append(inputs.var((0, 2, 3)))
    return inputs, found


def main() -> None:
    """Print a row for each initialisation."""
    data = load("cifar10", limit=128)
    inputs, targets = data.prepare.judged(data.train.inputs), data.train.targets
    print("| initialisation | gradient of the first layer | of the head | channels without a signal |")
    print("|---|---:|---:|---:|")
    for name in ("default", "zero", "zero-orthogonal"):
        torch.manual_seed(0)
        network = initialise(vgg16(num_classes=data.num_classes, input_shape=data.input_shape), name)
        logits, found = variances(network, inputs)
        F.cross_entropy(logits, targets).backward()
        first, last = network[0].weight.grad, network[-1].weight.grad
        silent = sum(int((one < SILENT).sum()) for one in found)
        print(f"| {name} | {first.norm():.2g} | {last.norm():.2g} | {silent} of {sum(map(len, found))} |")


if __name__ == "__main__":
    main()
