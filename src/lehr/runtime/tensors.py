"""The tensors of a network as bytes: dense ones as they are, sparse ones as coded places and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lehr.base.errors import require
from lehr.runtime import choices, positions, values
from lehr.runtime.cells import Cells, Places
from lehr.runtime.checked import damaged, ensure, field, shape_of
from lehr.runtime.graph import own
from lehr.runtime.values import Array

WEIGHTS_PER_BYTE = 4096  # what a file may describe: 0.02 % of the weights as int8 need a byte for 2,000
NOTHING: Mapping[str, Stored] = MappingProxyType({})
FREE = 2**20  # weights that any file may describe


@dataclass(frozen=True)
class Stored:
    """One tensor of a network.

    Args:
        name: its key in the state dict.
        dtype: ``F32``, ..., as safetensors writes it.
        shape: of the whole tensor.
        values: 1-d, row-major; of a sparse tensor those that are kept.
        places: int64, increasing: where the kept weights are; None for a dense tensor.
        granularity: what was chosen as one, as `lehr.Mask` writes it.
        cells: the same as arrays need it; None for an unstructured mask.
        same: the name of an earlier tensor that this one is (tied weights), whose values it then has.
        outside: names of earlier tensors of as many weights, disjoint, in whose places this one has none: parts of a partition. Places are
            then coded among those that are left.
        alike: the name of an earlier sparse tensor of this shape whose places, and cells, are these: they are not coded again.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    values: Array
    places: Places | None = None
    granularity: str = "unstructured"
    cells: Cells | None = None
    same: str | None = None
    outside: tuple[str, ...] = ()
    alike: str | None = None

    @property
    def size(self) -> int:
        """Weights, kept or not."""
        return prod(self.shape)

    def dense(self) -> Array:
        """All values in the tensor's shape, 0 where nothing is kept."""
        if self.places is None:
            return self.values.reshape(self.shape)
        whole = np.zeros(self.size, dtype=self.values.dtype)
        whole[self.places] = self.values
        return whole.reshape(self.shape)


@dataclass(frozen=True)
class Coded:
    """A tensor as a file holds it: its line in the table, its bytes, and what no code could be below, in bits."""

    entry: dict[str, Any]
    content: bytes
    bound: float


def encode(tensor: Stored, code: str | None = None, before: Mapping[str, Stored] = NOTHING) -> Coded:
    """Code a tensor.

    Args:
        tensor: what is to be kept.
        before: earlier tensors by name, those at least that it is `outside` of or `alike` to.
        code: of the values of a sparse tensor: ``F32``, ``F16``, ``BF16``, ``I8``; None: as they are.

    The bound is ``log2 C(N, k)`` bits for the places (in cells; ``groups * log2 C(M, N)`` for N:M), and the bytes of the values.

    Raises:
        LehrError: values do not fit into the code.

    >>> tensor = Stored("w", "F32", (2, 8), np.array([1.5, 2.0], dtype=np.float32), np.array([3, 9]))
    >>> coded = encode(tensor)
    >>> len(coded.content), bool(np.array_equal(decode(coded.entry, coded.content, {})[0].dense(), tensor.dense()))
    (10, True)
    """
    entry: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
    if tensor.same is not None:
        return Coded({"name": tensor.name, "same": tensor.same}, b"", 0.0)
    if tensor.places is None:
        content = np.ascontiguousarray(tensor.values).tobytes()
        return Coded(entry, content, 8.0 * len(content))
    if tensor.granularity != "unstructured":
        entry["granularity"] = tensor.granularity
    places, bound, told = _encode_places(tensor, before)
    code = code or tensor.dtype
    if code == "I8":
        rows, count = _rows(tensor.places, tensor.shape)
        q, scales = values.quantised(values.to_float32(tensor.values, tensor.dtype), rows, count)
        numbers = scales.tobytes() + q.tobytes()
    else:
        numbers = values.rounded(tensor.values, tensor.dtype, code).tobytes()
    entry |= {"kept": len(tensor.places), "code": code, "places": told}
    return Coded(entry, places + numbers, bound + 8.0 * len(numbers))


def _encode_places(tensor: Stored, before: Mapping[str, Stored]) -> tuple[bytes, float, dict[str, Any]]:
    """The places as bytes, their bound in bits, and what the decoder must know."""
    assert tensor.places is not None
    if tensor.alike is not None:
        told_so = same_places(tensor, before.get(tensor.alike))
        require(told_so, f"{tensor.name} has other places than {tensor.alike}")
        return b"", 0.0, {"alike": tensor.alike}
    kept = np.zeros(tensor.size, dtype=np.bool_)
    kept[tensor.places] = True
    cells = tensor.cells
    if cells is not None and cells.n and choices.possible(cells) and not tensor.outside:
        content = choices.encode(kept, cells)
        if content is not None:
            return content, choices.bound(cells), {"cells": cells.entry()}
    told: dict[str, Any] = {}
    taken = np.zeros(tensor.size, dtype=np.bool_)
    taken[_taken(tensor.outside, before, tensor.size)] = True
    if cells is not None and not cells.n:
        folded, others = cells.cells(kept), cells.cells(taken)
        if folded is not None and others is not None:
            kept, taken, told = folded, others, {"cells": cells.entry()}
    if tensor.outside:
        require(not (kept & taken).any(), f"{tensor.name} has weights in the places of {', '.join(tensor.outside)}")
        kept, told = kept[~taken], told | {"outside": list(tensor.outside)}
    count = int(kept.sum())
    absent = 2 * count > len(kept)  # the fewer are coded
    coded = positions.encode(np.flatnonzero(kept != absent))
    told |= {"bits": coded.bits, "quotients": coded.quotients, "count": count}
    return coded.content.tobytes(), positions.bound(len(kept), count), told


def same_places(tensor: Stored, other: Stored | None) -> bool:
    """Whether another sparse tensor's shape, places and cells are this one's."""
    if other is None or other.places is None or tensor.places is None:
        return False
    alike = other.shape == tensor.shape and other.cells == tensor.cells
    return alike and np.array_equal(other.places, tensor.places)


def decode(entry: dict[str, Any], content: bytes | memoryview, before: dict[str, Stored]) -> tuple[Stored, int]:
    """A tensor back, and how many of the bytes are its own.

    Args:
        entry: its line in the table.
        content: bytes that begin with its own.
        before: the tensors decoded so far, of which it may be one again.

    Raises:
        LehrError: the line is not one that `encode` writes, or there are too few bytes.
    """
    name = field(entry, "name", str)
    ensure(not any("\ud800" <= letter <= "\udfff" for letter in name), f"a tensor is called {name[:40]!r}")
    if "same" in entry:
        first = before.get(field(entry, "same", str))
        if first is None or own(first.name) > own(name):
            damaged(f"{name[:40]!r} is said to be a tensor that does not come before it")
        return replace(first, name=name, same=first.same or first.name), 0
    dtype, shape = field(entry, "dtype", str), shape_of(entry)
    ensure(dtype in values.DTYPES, f"there is no dtype {dtype[:20]!r}")
    if "kept" not in entry:
        length = prod(shape) * values.width(dtype)
        ensure(length <= len(content), f"{name[:40]!r} is larger than the file")
        return Stored(name, dtype, shape, np.frombuffer(content[:length], dtype=values.DTYPES[dtype])), length
    kept, code = field(entry, "kept", int), field(entry, "code", str)
    ensure(dtype in values.FLOATS and code in values.CODES, f"{name[:40]!r} has values in {code[:20]!r}")
    ensure(
        0 <= kept <= prod(shape) and kept * values.width(code) <= len(content),
        f"{name[:40]!r} keeps {str(kept)[:20]} weights",
    )
    granularity = field(entry, "granularity", str, "unstructured")
    ensure(len(granularity) <= 300, f"{name[:40]!r} has a granularity of {len(granularity)} letters")
    told = field(entry, "places", dict)
    alike = field(told, "alike", str) if "alike" in told else None
    outside = tuple(field(told, "outside", list, []))
    ensure(all(isinstance(other, str) for other in outside), f"{name[:40]!r} is outside of what has no name")
    if alike is not None:
        places, used, cells = _places_of(alike, before, shape, kept)
    else:
        places, used, cells = _decode_places(told, content, prod(shape), kept, _taken(outside, before, prod(shape)))
    rest = content[used:]
    numbers: Array
    if code == "I8":
        rows, count = _rows(places, shape)
        length = 2 * count + kept
        ensure(length <= len(rest), f"{name[:40]!r} is larger than the file")
        scales = np.frombuffer(rest[: 2 * count], dtype="<u2")
        q = np.frombuffer(rest[2 * count : length], dtype=np.int8)
        numbers = values.rounded(values.dequantised(q, scales, rows, dtype), "F32", dtype)
    else:
        length = kept * values.width(code)
        ensure(length <= len(rest), f"{name[:40]!r} is larger than the file")
        numbers = values.rounded(np.frombuffer(rest[:length], dtype=values.DTYPES[code]), code, dtype)
    return Stored(name, dtype, shape, numbers, places, granularity, cells, outside=outside, alike=alike), used + length


def _places_of(
    name: str, before: Mapping[str, Stored], shape: Sequence[int], kept: int
) -> tuple[Places, int, Cells | None]:
    """The places and cells of an earlier tensor, which take no bytes."""
    other = before.get(name)
    if other is None or other.places is None or other.shape != tuple(shape) or len(other.places) != kept:
        damaged(
            f"a tensor is said to have the places of {name[:40]!r}, which is no sparse tensor of its shape before it"
        )
    return other.places, 0, other.cells


def _taken(outside: Sequence[str], before: Mapping[str, Stored], size: int) -> Places:
    """The places of other parts of a partition, increasing; as many at most as there are weights."""
    found: list[Places] = []
    left = size
    for name in outside:
        other = before.get(name)
        if other is None or other.places is None or other.size != size:
            damaged(f"a tensor is said to be outside of {name[:40]!r}, which is no sparse tensor of its size before it")
        left -= len(other.places)
        ensure(
            left >= 0, "tensors that are said to be parts of one have more weights than it"
        )  # nor are they read again and again
        found.append(other.places)
    taken = np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
    ensure(not (np.diff(taken) == 0).any(), "tensors that are said to be parts of one share a place")
    return taken


def _free(taken: Places, found: Places) -> Places:
    """The places of the so-many-th free ones, where some are taken; in memory of what is kept, not of the whole.

    >>> _free(np.array([0, 3]), np.array([0, 1, 2])).tolist()
    [1, 2, 4]
    """
    gaps = taken - np.arange(len(taken))  # how many free places come before each taken one
    return cast("Places", found + np.searchsorted(gaps, found, side="right"))


def _decode_places(
    told: dict[str, Any], content: bytes | memoryview, size: int, kept: int, taken: Places
) -> tuple[Places, int, Cells | None]:
    """The places of `kept` weights among `size`, the bytes used, and their cells."""
    cells = Cells.of_entry(field(told, "cells", dict), size) if "cells" in told else None
    if cells is not None and cells.n:
        ensure("outside" not in told, "it is outside of others, of every M")
        ensure(
            choices.possible(cells) and kept == cells.groups * cells.n, f"{str(kept)[:20]} weights are not N of every M"
        )
        used = choices.length(cells)
        ensure(used <= len(content), "its choices are larger than the file")
        return choices.decode(content[:used], cells), used, cells
    total, each = (size, 1) if cells is None else (cells.count, cells.size)
    if cells is not None and len(taken):
        folded = cells.folded(taken)
        ensure(folded is not None, "its cells are taken in part")
        assert folded is not None
        taken = folded
    total -= len(taken)
    count, bits = field(told, "count", int), field(told, "bits", int)
    quotients = field(told, "quotients", int)
    ensure(0 <= count <= total and count * each == kept, f"{str(count)[:20]} cells are not {kept} weights")
    absent = 2 * count > total
    coded = total - count if absent else count
    ensure(0 <= bits <= positions.MOST and quotients >= 0, f"a remainder has {str(bits)[:20]} bits")
    used = quotients + (coded * bits + 7) // 8
    ensure(used <= len(content), "its places are larger than the file")
    found = positions.decode(
        positions.Coded(np.frombuffer(content[:used], dtype=np.uint8), quotients, bits), coded, total
    )
    if absent:
        there = np.ones(total, dtype=np.bool_)
        there[found] = False
        found = np.flatnonzero(there)
    if len(taken):
        found = _free(taken, found)
    return (found if cells is None else cells.weights(found)), used, cells


def _rows(places: NDArray[np.int64], shape: Sequence[int]) -> tuple[NDArray[np.int64], int]:
    """The output that each kept weight belongs to, counted over those that keep any, and how many those are."""
    outputs = shape[0] if len(shape) > 1 else 1
    row = places // max(1, prod(shape) // max(1, outputs))
    if not len(row):
        return row, 0
    new = np.diff(row, prepend=row[0]) > 0  # places increase
    numbers = cast("NDArray[np.int64]", np.cumsum(new))
    return numbers, int(numbers[-1]) + 1


def check_size(tensors: Sequence[dict[str, Any]], length: int) -> None:
    """Raise where a table describes more weights than a file of so many bytes may."""
    total = sum(prod(shape_of(entry)) for entry in tensors if "same" not in entry)
    ensure(total <= FREE + WEIGHTS_PER_BYTE * length, f"{length:,} bytes cannot hold a network of {total:,} weights")


def require_describable(weights: int, length: int) -> None:
    """Raise where a file that is about to be written would be refused."""
    require(
        weights <= FREE + WEIGHTS_PER_BYTE * length,
        f"{weights:,} weights in {length:,} bytes are more than a reader accepts: nearly nothing is kept, lower the sparsity",
    )
