"""Where the nonzeros of a tensor are, in little more than ``log2 C(N, k)`` bits: Rice-coded gaps.

The nonzeros of a tensor of N weights lie at increasing row-major places ``i_0 < i_1 < ...``; the gaps
``g_j = i_j - i_(j-1) - 1`` (with ``i_(-1) = -1``) are coded with a parameter b: the quotient ``g >> b`` as that many 0 bits
and a 1, the remainder as b bits. All quotients come first, filled up to a whole byte, then all remainders; bits fill
bytes from the lowest. So NumPy decodes them without a loop, and no length in a file has to be believed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lehr.base.errors import require

MOST = 31  # bits of a remainder


@dataclass(frozen=True)
class Coded:
    """Coded places: the bytes, how many of them are quotients, and the bits of a remainder."""

    content: NDArray[np.uint8]
    quotients: int
    bits: int


def encode(places: NDArray[np.int64]) -> Coded:
    """Code increasing places with the parameter that needs the fewest bytes.

    Args:
        places: row-major indices of the nonzeros, strictly increasing, from 0.

    Raises:
        LehrError: they do not increase.

    >>> coded = encode(np.array([2, 3, 9]))
    >>> coded.bits, coded.content.tolist(), decode(coded, 3, 10).tolist()
    (0, [12, 2], [2, 3, 9])
    """
    places = np.asarray(places, dtype=np.int64)
    gaps = np.diff(places, prepend=-1) - 1
    require(bool((gaps >= 0).all()), "the places of the nonzeros do not increase: sort them first")
    bits = min(range(MOST + 1), key=lambda b: (_length(gaps, b), b)) if len(gaps) else 0
    quotients = gaps >> bits
    unary = np.zeros(int(quotients.sum()) + len(gaps), dtype=np.uint8)
    unary[np.cumsum(quotients + 1) - 1] = 1
    remainders = ((gaps[:, None] >> np.arange(bits)) & 1).astype(np.uint8)
    first = np.packbits(unary, bitorder="little")
    return Coded(np.concatenate([first, np.packbits(remainders.reshape(-1), bitorder="little")]), len(first), bits)


def decode(coded: Coded, count: int, size: int) -> NDArray[np.int64]:
    """The places back: `count` of them below `size`.

    Raises:
        LehrError: the bytes are not the code of so many places, whatever they are.
    """
    content, bits = coded.content, coded.bits
    require(0 <= bits <= MOST and 0 <= coded.quotients <= len(content), _damaged("its lengths contradict each other"))
    require(0 <= count <= 8 * coded.quotients, _damaged(f"{count} places do not fit into {coded.quotients} bytes"))
    unary = np.unpackbits(content[: coded.quotients], bitorder="little")
    ends = np.flatnonzero(unary)
    rest = content[coded.quotients :]
    require(len(ends) == count, _damaged(f"it has {len(ends)} places and should have {count}"))
    require(len(rest) == (count * bits + 7) // 8, _damaged(f"it has {len(rest)} bytes of remainders"))
    gaps = (np.diff(ends, prepend=-1) - 1) << bits
    if bits:
        each = np.unpackbits(rest, bitorder="little")[: count * bits].reshape(count, bits)
        gaps += each.astype(np.int64) @ (1 << np.arange(bits, dtype=np.int64))
    places = np.cumsum(gaps + 1) - 1
    require(count == 0 or int(places[-1]) < size, _damaged("a place lies outside the tensor"))
    return places


def bound(size: int, count: int) -> float:
    """``log2 C(N, k)``: the bits that tell k places among N, all choices being equally likely.

    >>> bound(4, 2) == math.log2(6), bound(10, 0)
    (True, 0.0)
    """
    require(0 <= count <= size, f"{count} places are more than {size}: give the number of nonzeros")
    if count in (0, size):
        return 0.0
    if size < 60:
        return math.log2(math.comb(size, count))
    return (math.lgamma(size + 1) - math.lgamma(count + 1) - math.lgamma(size - count + 1)) / math.log(2)


def _length(gaps: NDArray[np.int64], bits: int) -> int:
    """Bytes of the code with this parameter."""
    return (int((gaps >> bits).sum()) + len(gaps) + 7) // 8 + (len(gaps) * bits + 7) // 8


def _damaged(reason: str) -> str:
    return f"the coded mask is damaged ({reason}): get the file again"
