"""N kept of every M: the number of each group's choice among the C(M, N), as digits in words of 64 bits.

A word holds d digits, the first the lowest, with d the most for which ``C(M, N) ** d <= 2 ** 64``. The choices of a group
are numbered in the order of `itertools.combinations`.
"""

from __future__ import annotations

from itertools import combinations
from math import comb, log2

import numpy as np
from numpy.typing import NDArray

from lehr.runtime.cells import Cells, Places
from lehr.runtime.checked import ensure

MOST = 2**16  # choices that are tabled; 8:16 has 12,870


def possible(cells: Cells) -> bool:
    """Whether groups of this kind have a table of choices."""
    m = cells.dims[cells.along]
    return 0 < m <= 32 and comb(m, cells.n) <= MOST


def encode(kept: NDArray[np.bool_], cells: Cells) -> bytes | None:
    """The choices of all groups; None where some group does not keep exactly N.

    >>> two = Cells((1, 1, 4, 1), (0, 1, 2, 3), n=2, along=2)
    >>> encode(np.array([True, False, True, False]), two).hex(), decode(encode(np.array([1, 0, 1, 0], bool), two), two).tolist()
    ('0100000000000000', [0, 2])
    """
    grouped = np.moveaxis(kept.reshape(cells.dims), cells.along, -1).reshape(-1, cells.dims[cells.along])
    if not bool((grouped.sum(axis=1) == cells.n).all()):
        return None
    table = _table(cells)
    key = 1 << np.arange(grouped.shape[1], dtype=np.int64)
    keys = table.astype(np.int64) @ key
    order = np.argsort(keys)
    digits = order[np.searchsorted(keys[order], grouped.astype(np.int64) @ key)].astype(np.uint64)
    base, each = np.uint64(len(table)), _digits(len(table))
    padded = np.concatenate([digits, np.zeros(-len(digits) % each, dtype=np.uint64)]).reshape(-1, each)
    words = np.zeros(len(padded), dtype=np.uint64)
    for column in reversed(range(each)):
        words = words * base + padded[:, column]
    return words.astype("<u8").tobytes()


def length(cells: Cells) -> int:
    """Bytes of the code."""
    return 8 * -(-cells.groups // _digits(comb(cells.dims[cells.along], cells.n)))


def decode(content: bytes | memoryview, cells: Cells) -> Places:
    """The row-major places of the kept weights, increasing. Raises `LehrError` for a choice that does not exist."""
    m = cells.dims[cells.along]
    table = _table(cells)
    words = np.frombuffer(content, dtype="<u8").astype(np.uint64)
    base, each = np.uint64(len(table)), _digits(len(table))
    digits = np.empty((len(words), each), dtype=np.int64)
    for column in range(each):
        digits[:, column] = words % base
        words = words // base
    chosen = digits.reshape(-1)
    ensure(not words.any() and not chosen[cells.groups :].any(), "a group's choice does not exist")
    kept = table[chosen[: cells.groups]]
    shape = [n for axis, n in enumerate(cells.dims) if axis != cells.along]
    return np.flatnonzero(np.moveaxis(kept.reshape(*shape, m), -1, cells.along))


def bound(cells: Cells) -> float:
    """``groups * log2 C(M, N)`` bits."""
    return cells.groups * log2(comb(cells.dims[cells.along], cells.n))


def _table(cells: Cells) -> NDArray[np.bool_]:
    """Choices x M."""
    m = cells.dims[cells.along]
    chosen = np.array(list(combinations(range(m), cells.n)), dtype=np.int64)
    table = np.zeros((len(chosen), m), dtype=np.bool_)
    np.put_along_axis(table, chosen, True, axis=1)
    return table


def _digits(base: int) -> int:
    """How many digits a word holds; 64 where there is nothing to choose."""
    each = 1
    while each < 64 and base ** (each + 1) <= 2**64:
        each += 1
    return each
