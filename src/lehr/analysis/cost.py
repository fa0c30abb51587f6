"""What a network costs: FLOPs of one example, dense and if zeros were skipped."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lehr.masks import Mask


@dataclass(frozen=True)
class LayerCost:
    """One masked layer: FLOPs dense, and those of the weights that are kept."""

    name: str
    flops: int
    kept_flops: float


@dataclass(frozen=True)
class Cost:
    """FLOPs of a forward pass: `dense` as computed, `kept` if every zero were skipped."""

    dense: int
    kept: float
    layers: tuple[LayerCost, ...]


def flops(model: nn.Module, example: Tensor) -> dict[str, int]:
    """Floating-point operations of a forward pass by module name, ``""`` for all; a multiply-add is two.

    Convolutions and matrix products are counted, attention's included; norms and activations are not.

    >>> flops(nn.Linear(10, 3, bias=False), torch.zeros(1, 10))[""]
    60
    """
    training = model.training
    model.eval()
    try:
        # The fused attention kernels are not known to the counter; their plain form is.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(example)
    finally:
        model.train(training)
    root = type(model).__name__
    found = {"": int(counter.get_total_flops())}
    for module, operations in counter.get_flop_counts().items():
        if module.startswith(f"{root}."):
            found[module.removeprefix(f"{root}.")] = int(sum(operations.values()))
    return found


def cost(model: nn.Module, example: Tensor, mask: Mask | None) -> Cost:
    """FLOPs dense and kept: a layer's own times its density, everything else as it is.

    Kept FLOPs are what an ideal sparse engine would do; a dense one computes the dense ones whatever the
    mask, and whole filters or heads save time only once they are removed.

    >>> net = nn.Sequential(nn.Linear(10, 3, bias=False))
    >>> half = Mask({"0.weight": torch.arange(30).reshape(3, 10) < 15})
    >>> cost(net, torch.zeros(1, 10), half).kept
    30.0
    """
    counts = flops(model, example)
    single = len(counts) == 1  # a network that is one layer
    layers = []
    saved = 0.0
    for row in [] if mask is None else mask.layers():
        own = counts[""] if single else counts.get(row.name.rpartition(".")[0], 0)
        layers.append(LayerCost(row.name, own, own * row.density))
        saved += own * (1 - row.density)
    return Cost(counts[""], counts[""] - saved, tuple(layers))
