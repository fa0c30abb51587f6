"""Checkpoints that the compressed-tensors library wrote as ``sparse-bitmask`` or ``sparse-24-bitmask``.

Such a file is a ``.safetensors`` in which a sparse tensor of shape (..., n) stands as

- ``NAME.compressed``: its kept values in row-major order,
- ``NAME.bitmask``: uint8 of shape (..., ceil(n / 8)), a bit for each weight, the lowest bit of a byte first, rows padded,
- ``NAME.shape``: its shape (int64; nothing at all for a scalar),
- ``NAME.row_offsets``: int64, where each row begins in the values (not with 2:4, and never needed).

Releases to 0.8 stored every tensor so, scalars too, under its full name, such as ``fc.weight``; later ones only weights, as ``fc``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from lehr.base.errors import LehrError, one_line
from lehr.deploy.contents import NAMES
from lehr.masks import Mask

BITMASK = ".bitmask"
DIMENSIONS = 8  # more than any weight has
INTEGERS = (torch.int32, torch.int64)


def read_bitmask(path: str | Path) -> tuple[dict[str, Tensor], Mask]:
    """A state dict, dense, and the mask that its bitmasks store (of the tensors that have one and are floating).

    What is made is never larger than the file says in bitmasks: at most 8 weights to a byte of them.

    Raises:
        LehrError: the file is missing or damaged, has no bitmask, or its parts do not agree.

    >>> from safetensors.torch import save_file
    >>> bits, ends = torch.tensor([[0b10], [0b11]], dtype=torch.uint8), torch.tensor([0, 1])
    >>> parts = {"compressed": torch.tensor([3.0, 4.0, 5.0]), "bitmask": bits, "shape": torch.tensor([2, 2]), "row_offsets": ends}
    >>> save_file({f"fc.{name}": tensor for name, tensor in parts.items()}, "/tmp/_doc_bits.safetensors")
    >>> state, mask = read_bitmask("/tmp/_doc_bits.safetensors")
    >>> state["fc.weight"].tolist(), mask
    ([[0.0, 3.0], [4.0, 5.0]], Mask(3 of 4 weights in 1 layers, 25 % sparse))
    """
    try:
        tensors = load_file(path)
    except Exception as error:  # OSError, or whatever safetensors makes of a damaged header
        raise LehrError(
            f"{path} cannot be read ({one_line(error, 200)}): give a .safetensors file, or get it again"
        ) from None
    if not has_bitmask(tensors):
        raise LehrError(f"{path} has no bitmasks: it is an ordinary file, read it with safetensors")
    return from_bitmask(tensors, str(path))


def has_bitmask(tensors: Mapping[str, Tensor]) -> bool:
    """Whether some of these tensors are stored as bitmask and values.

    >>> has_bitmask({"fc.weight": torch.zeros(1)}), has_bitmask({"fc.bitmask": torch.zeros(1)})
    (False, True)
    """
    return any(name.endswith(BITMASK) for name in tensors)


def from_bitmask(tensors: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], Mask]:
    """`read_bitmask` of the tensors of a file that is open already; `source` names it in errors."""
    owners = [name.removesuffix(BITMASK) for name in tensors if name.endswith(BITMASK)]
    names = dict(zip(owners, _full_names(owners), strict=True))
    parts = {f"{owner}.{part}" for owner in owners for part in ("compressed", "bitmask", "shape", "row_offsets")}
    state = {name: tensor for name, tensor in tensors.items() if name not in parts}
    for name in state:
        if name.endswith((".compressed", ".row_offsets")):
            raise _damaged(source, f"{name} without a bitmask")
    bits: dict[str, Tensor] = {}
    for owner, name in names.items():
        if name in state:
            raise _damaged(source, f"{name} twice")
        state[name], kept = _opened(owner, tensors, source)
        if state[name].is_floating_point():
            bits[name] = kept
    return state, Mask(bits)


def _full_names(owners: list[str]) -> list[str]:
    if any(owner.rpartition(".")[2] == "weight" for owner in owners):  # an old file: they are full names
        return owners
    return [f"{owner}.weight" if owner else "weight" for owner in owners]


def _opened(owner: str, tensors: Mapping[str, Tensor], source: str) -> tuple[Tensor, Tensor]:
    """The dense tensor and which of its weights are kept."""
    for part in ("compressed", "shape"):
        if f"{owner}.{part}" not in tensors:
            raise _damaged(source, f"{owner}.bitmask without {owner}.{part}")
    values, packed = tensors[f"{owner}.compressed"].reshape(-1), tensors[f"{owner}.bitmask"]
    if values.dtype not in NAMES:
        raise LehrError(
            f"{source} holds {owner} as {values.dtype}, so it is quantized too: decompress it with compressed-tensors first"
        )
    shape = _shape(owner, tensors[f"{owner}.shape"], source)
    kept = _bits(owner, packed, shape, source)
    count = int(kept.sum())
    if len(values) != count:
        raise _damaged(source, f"{len(values):,} values of {owner} and a bitmask that keeps {count:,}")
    if f"{owner}.row_offsets" in tensors:
        _check_offsets(owner, tensors[f"{owner}.row_offsets"], kept, source)
    dense = torch.zeros(shape, dtype=values.dtype)
    dense[kept] = values
    return dense, kept


def _shape(owner: str, told: Tensor, source: str) -> tuple[int, ...]:
    if not told.numel():
        return ()
    if told.dtype not in INTEGERS or told.numel() > DIMENSIONS or int(told.min()) < 1:
        raise _damaged(source, f"{owner}.shape that is no shape of a weight")
    return tuple(int(size) for size in told.reshape(-1).tolist())  # 2:4 has a column


def _bits(owner: str, packed: Tensor, shape: tuple[int, ...], source: str) -> Tensor:
    rows, columns = prod(shape[:-1]), shape[-1] if shape else 1
    width = -(-columns // 8)
    # Before anything is made: so the shape cannot ask for more than the bytes that are there.
    if packed.dtype != torch.uint8 or packed.dim() == 0 or packed.shape[-1] != width or packed.numel() != rows * width:
        told = f"{owner}.bitmask as {packed.dtype} of shape {tuple(packed.shape)} for a weight of shape {shape}"
        raise _damaged(source, told)
    bits = np.unpackbits(packed.numpy().reshape(rows, width), axis=1, bitorder="little")
    if bits[:, columns:].any():
        raise _damaged(source, f"{owner}.bitmask with bits beyond the end of its rows")
    return torch.from_numpy(np.ascontiguousarray(bits[:, :columns]).view(np.bool_)).reshape(shape)


def _check_offsets(owner: str, told: Tensor, kept: Tensor, source: str) -> None:
    counts = kept.sum(-1)
    # The library adds up over the first dimension, which for a convolution are not the offsets; some would mend that.
    right = [sums.cumsum(0) - sums for sums in (counts, counts.reshape(-1))]
    if told.dtype not in INTEGERS or not any(
        torch.equal(told.reshape(-1).long(), offsets.reshape(-1)) for offsets in right
    ):
        raise _damaged(source, f"{owner}.row_offsets that its bitmask does not have")


def _damaged(source: str, what: str) -> LehrError:
    return LehrError(f"{source} holds {what}: it is damaged, get it again")
