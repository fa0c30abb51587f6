"""Attention heads: which parameters of which modules, and how they share a head."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from lehr.base.errors import LehrError

# Where an attention module keeps its number of heads, and what its projections are called: torch, timm,
# Hugging Face, nanoGPT and this library. The first kind gives heads (rows), the second takes them (columns).
COUNTS = ("num_heads", "heads", "n_head", "n_heads", "num_attention_heads")
INTO = (
    "in_proj_weight",
    "qkv",
    "q_proj",
    "k_proj",
    "v_proj",
    "query",
    "key",
    "value",
    "c_attn",
    "to_q",
    "to_k",
    "to_v",
)
FUSED = ("in_proj_weight", "qkv", "c_attn")  # queries, keys and values in one
OUT_OF = ("out_proj", "proj", "o_proj", "c_proj", "dense", "to_out")


def head_granularity(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """``head:H:rows@GROUP`` or ``head:H:columns@GROUP`` for each of the named parameters that belongs to heads.

    A head is its rows of the query, key and value projections and its columns of the output projection,
    all of one module that says how many heads it has; biases are not masked.

    Raises `LehrError` where no named parameter belongs to heads.

    >>> head_granularity(nn.MultiheadAttention(8, 2), ["in_proj_weight", "out_proj.weight"])
    {'in_proj_weight': 'head:2:rows@heads', 'out_proj.weight': 'head:2:columns@heads'}
    """
    found = {}
    wanted = list(names)
    for prefix, module in model.named_modules():
        heads = next((getattr(module, c) for c in COUNTS if isinstance(getattr(module, c, None), int)), 0)
        if heads < 1:
            continue
        group = f"{prefix}.heads" if prefix else "heads"
        rows = {
            child.weight.shape[0]
            for name, child in module.named_children()
            if name in INTO[2:] and isinstance(getattr(child, "weight", None), nn.Parameter)
        }
        if len(rows) > 1:
            raise LehrError(
                f"{prefix or type(module).__name__} shares keys among its heads (its projections have {sorted(rows)} "
                "rows): heads cannot be cut one by one, use another granularity"
            )
        if any(type(child).__name__ == "Conv1D" for child in module.children()):
            raise LehrError(
                f"{prefix or type(module).__name__} keeps its weights inputs x outputs: use another granularity"
            )
        for role, attributes in (("rows", INTO), ("columns", OUT_OF)):
            for attribute in attributes:
                name = attribute if attribute.endswith("_weight") else f"{attribute}.weight"
                full = f"{prefix}.{name}" if prefix else name
                if full in wanted:
                    _check_width(model.get_parameter(full), full, role, fused=attribute in FUSED)
                    found[full] = f"head:{heads}:{role}@{group}"
    if not found:
        raise LehrError(
            f"{type(model).__name__} has no attention heads that can be told: a module needs num_heads beside q_proj, "
            "k_proj, v_proj (or qkv) and out_proj; use another granularity"
        )
    return found


def _check_width(weight: nn.Parameter, name: str, role: str, *, fused: bool) -> None:
    """Raise where the rows of heads could not be told from the shape alone, as a `Granules` does."""
    outputs, inputs = weight.shape
    if role == "rows" and fused != (outputs == 3 * inputs):
        what = "queries, keys and values in one" if fused else "a single projection"
        raise LehrError(
            f"{name} is {outputs} x {inputs}, {what}, and its heads are not as wide as the network: use another granularity"
        )
