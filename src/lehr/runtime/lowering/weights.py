"""The weights of a layer as the engine wants them: nonzeros by row, batch-norm folded in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lehr.base.errors import LehrError
from lehr.runtime.checked import ensure
from lehr.runtime.lowering.fuse import Fused
from lehr.runtime.tensors import Stored
from lehr.runtime.values import FLOATS, to_float32

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """A matrix, outputs x inputs, by its nonzeros in row-major order.

    Args:
        shape: of the tensor.
        row, column: of each nonzero.
        values: of each.
        bias: one an output.
    """

    shape: tuple[int, ...]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    values: Floats
    bias: Floats

    @property
    def density(self) -> float:
        """Nonzeros over weights."""
        return len(self.values) / max(1, int(np.prod(self.shape)))


def vector(tensors: Mapping[str, Stored], name: str, length: int | None = None) -> Floats:
    """A dense tensor as fp32, 1-d."""
    found = tensor(tensors, name)
    values = to_float32(found.dense().reshape(-1), found.dtype)
    ensure(length is None or len(values) == length, f"{name[:40]!r} has {len(values)} numbers")
    return values


def tensor(tensors: Mapping[str, Stored], name: str) -> Stored:
    """A tensor that the graph names."""
    found = tensors.get(name)
    if found is None:
        raise LehrError(f"the graph names the tensor {name[:60]!r}, which is not there: pack the network again")
    ensure(found.dtype in FLOATS, f"{name[:40]!r} is no floating tensor")
    return found


def rows_of(one: Fused, tensors: Mapping[str, Stored]) -> Rows:
    """The weights of a convolution or linear layer, with the batch-norm after it: ``w s``, ``(b - mean) s + shift``.

    ``s = weight / sqrt(variance + epsilon)``.
    """
    stored = tensor(tensors, one.node.attributes["weight"])
    ensure(len(stored.shape) >= 2 and stored.size > 0, f"{stored.name[:40]!r} is no matrix")
    outputs = stored.shape[0]
    flat = to_float32(stored.values, stored.dtype)
    places = np.flatnonzero(flat) if stored.places is None else stored.places[flat != 0]
    values = flat[flat != 0]
    row, column = np.divmod(places, stored.size // outputs)
    name = one.node.attributes.get("bias")
    bias = np.zeros(outputs, dtype=np.float32) if name is None else vector(tensors, name, outputs)
    if one.norm is not None:
        scale, shift = affine_of(one.norm, tensors, outputs)
        values = (values * scale[row]).astype(np.float32)
        bias = (bias * scale + shift).astype(np.float32)
    return Rows(stored.shape, row, column, values, bias)


def affine_of(
    norm: Mapping[str, Any], tensors: Mapping[str, Stored], channels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A batch-norm as ``x * scale + shift``, in fp64."""
    mean, variance = (vector(tensors, norm[name], channels).astype(np.float64) for name in ("mean", "variance"))
    scale = 1.0 / np.sqrt(np.maximum(variance + norm["epsilon"], 1e-30))
    if "weight" in norm:
        scale = scale * vector(tensors, norm["weight"], channels)
    shift = -mean * scale
    if "bias" in norm:
        shift = shift + vector(tensors, norm["bias"], channels)
    return scale, shift
