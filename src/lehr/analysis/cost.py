"""What a network costs: FLOPs of one example, dense and if zeros were skipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lehr.base.modes import in_mode
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

    Convolutions and matrix products are counted, attention's included; norms and activations are not. The
    projections of `torch.nn.MultiheadAttention` are listed as ``NAME.in_proj_weight`` and ``NAME.out_proj``.

    >>> flops(nn.Linear(10, 3, bias=False), torch.zeros(1, 10))[""]
    60
    """
    places: dict[str, int] = {}
    hooks = [
        module.register_forward_pre_hook(_note_places(places, name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention)
    ]
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        # The fused attention kernels are not known to the counter; their plain form is.
        torch.backends.mha.set_fastpath_enabled(False)
        with in_mode(model), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(example)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
    root = type(model).__name__
    found = {"": int(counter.get_total_flops())}
    for module, operations in counter.get_flop_counts().items():
        if module.startswith(f"{root}."):
            found[module.removeprefix(f"{root}.")] = int(sum(operations.values()))
    for name, count in places.items():
        attention = model.get_submodule(name)
        prefix = f"{name}." if name else ""
        assert isinstance(attention, nn.MultiheadAttention), "only those were hooked"
        found[f"{prefix}out_proj"] = 2 * count * attention.out_proj.weight.numel()
        if attention.in_proj_weight is not None:
            found[f"{prefix}in_proj_weight"] = 2 * count * attention.in_proj_weight.numel()
    return found


def _note_places(places: dict[str, int], name: str) -> Callable[..., None]:
    """A hook that counts how many vectors an attention module is asked about."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        query = kwargs["query"] if "query" in kwargs else args[0]
        places[name] = places.get(name, 0) + query.numel() // query.shape[-1]

    return hook


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
        own = counts[""] if single else counts.get(row.name, counts.get(row.name.rpartition(".")[0], 0))
        layers.append(LayerCost(row.name, own, own * row.density))
        saved += own * (1 - row.density)
    return Cost(counts[""], counts[""] - saved, tuple(layers))
