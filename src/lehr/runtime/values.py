"""Numbers as a file holds them: fp64, fp32, fp16, bf16 as they are, or int8 with a scale for each output.

bf16, which NumPy lacks, is held as its 16 bits (uint16).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lehr.base.errors import require

Array = NDArray[np.generic]

DTYPES: dict[str, str] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")
CODES = (*FLOATS, "I8")  # of kept weights


def width(dtype: str) -> int:
    """Bytes of one number.

    >>> width("BF16")
    2
    """
    return np.dtype(DTYPES[dtype]).itemsize


def to_float32(values: Array, dtype: str) -> NDArray[np.float32]:
    """Numbers of any floating dtype, as fp32.

    >>> to_float32(np.array([0x3F80], dtype=np.uint16), "BF16").tolist()
    [1.0]
    """
    if dtype == "BF16":
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


def rounded(values: Array, source: str, target: str) -> Array:
    """Floating numbers in another floating dtype, to the nearest, ties to even; from F64 to BF16 by way of F32.

    Raises:
        LehrError: a number does not fit into the range of `target`.

    >>> rounded(np.array([1.0 + 2**-9], dtype=np.float32), "F32", "BF16").tolist()
    [16256]
    """
    if source == target:
        return values
    wide = to_float32(values, source) if source != "F64" else values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        result = _to_bf16(wide.astype(np.float32)) if target == "BF16" else wide.astype(DTYPES[target])
        back = to_float32(result, target) if target == "BF16" else result
        fits = bool((np.isfinite(back) == np.isfinite(wide)).all())
    require(fits, f"a weight is too large for {target}: choose other values, such as bf16 or fp32")
    return result


def _to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = values.view(np.uint32).astype(np.uint64)
    result = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    nan = np.isnan(values)
    result[nan] = ((bits[nan] >> 16) | 0x40).astype(np.uint16)
    return result


def quantised(values: NDArray[np.float32], rows: NDArray[np.int64], count: int) -> tuple[NDArray[np.int8], Array]:
    """int8 with one scale a row: ``w ~ q * s``, ``s = max |w| / 127`` rounded up to bf16, ``q = round(w / s)``.

    Args:
        values: weights, finite.
        rows: the row of each, from 0.
        count: rows; each has at least one weight.

    Returns:
        q, and the bits of the scales in bf16.

    >>> q, s = quantised(np.array([1.0, -0.5], dtype=np.float32), np.array([0, 0]), 1)
    >>> q.tolist(), dequantised(q, s, np.array([0, 0])).round(2).tolist()
    ([126, -63], [1.0, -0.5])
    """
    require(bool(np.isfinite(values).all()), "a weight is not finite and has no int8: choose other values")
    largest = np.zeros(count, dtype=np.float32)
    np.maximum.at(largest, rows, np.abs(values))
    exact = (largest / np.float32(127)).view(np.uint32)
    scales = ((exact.astype(np.uint64) + 0xFFFF) >> 16).astype(np.uint16)
    exact_scales = to_float32(scales, "BF16")
    each = np.where(exact_scales == 0, np.float32(1), exact_scales)[rows]
    q = np.clip(np.rint(values / each), -127, 127)
    return q.astype(np.int8), scales


LARGEST = {"F16": 65504.0, "BF16": 3.3895313892515355e38}  # of the dtypes that are smaller than fp32


def dequantised(q: NDArray[np.int8], scales: Array, rows: NDArray[np.int64], dtype: str = "F32") -> NDArray[np.float32]:
    """``q * s``, and no more than the largest number of the dtype that it is for."""
    with np.errstate(over="ignore", invalid="ignore"):
        exact = q.astype(np.float32) * to_float32(scales, "BF16")[rows]
    most = np.float32(LARGEST.get(dtype, np.finfo(np.float32).max))
    clipped: NDArray[np.float32] = np.clip(exact, -most, most)
    return clipped
