"""Operations that only move numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lehr.runtime.checked import ensure
from lehr.runtime.lowering.layout import Layout
from lehr.runtime.lowering.steps import Operation, Place

Table = NDArray[np.int32]
WITHIN, IN, OUT = 0, 1, 2  # from arena to arena, from an input array, to an output array


def gather(
    x: Place | None, y: Place | None, table: Table, channels: int, *, where: int = WITHIN, array: int = 0,
    source_channel: int | None = None, target_channel: int | None = None,
) -> Operation:  # fmt: skip
    """Numbers one by one: number i of a channel of `y` is number ``table[i]`` of that of `x`, or 0 where the table has -1."""
    if source_channel is None:
        source_channel = 0 if x is None else x.layout.lines * x.layout.lanes
    if target_channel is None:
        target_channel = 0 if y is None else y.layout.lines * y.layout.lanes
    return "gather", {
        "source": 0 if x is None else x.start, "target": 0 if y is None else y.start,
        "channels": channels, "source_channel": source_channel, "target_channel": target_channel, "where": where,
        "array": array, "table": table,
    }  # fmt: skip


def same_pixels(x: Layout, y: Layout) -> Table:
    """The table that brings every pixel of one layout to its place in another."""
    return table(y, y.places.reshape(-1), x.places.reshape(-1))


def table(y: Layout, to: NDArray[np.integer], source: NDArray[np.integer]) -> Table:
    """A table for `gather` that fills the places `to` of a channel and leaves the others 0."""
    result = np.full(y.lines * y.lanes, -1, dtype=np.int32)
    result[to] = source
    return result


def transpose(place: Place, array: int, *, out: bool) -> Operation:
    """Tokens or features between rows of an array and lanes."""
    layout = place.layout
    rows = np.full(layout.lines * layout.lanes, -1, dtype=np.int32)
    rows[layout.places.reshape(-1)] = np.arange(layout.samples * layout.width)  # of one row of pixels
    return "transpose", {
        "place": place.base, "channels": layout.channels, "channel": layout.lines, "array": array, "out": out, "rows": rows,
    }  # fmt: skip


def border(place: Place, fill: float) -> Operation | None:
    """Fill the halo of an activation from its other patches, or with a constant at the border of the image."""
    lines, table = place.layout.border()
    if not len(lines):
        return None
    lanes = place.layout.lanes
    source = np.maximum(table.max(axis=1), 0) // lanes  # a patch's neighbours hold the pixel in one line
    ensure(bool(((table < 0) | (table // lanes == source[:, None])).all()), "a halo wider than a patch")
    moves, kinds = np.unique(np.where(table < 0, -1, table % lanes), axis=0, return_inverse=True)
    return "halo", {
        "base": place.base, "channels": place.layout.channels, "channel": place.layout.lines, "lines": lines,
        "sources": source.astype(np.int32), "kinds": kinds.reshape(-1).astype(np.int32),
        "moves": moves.astype(np.int32).reshape(-1), "fill": fill,
    }  # fmt: skip
