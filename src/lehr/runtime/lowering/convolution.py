"""Convolutions and linear layers, lowered: which weight meets which line of the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lehr.runtime.graph import ACTIVATIONS
from lehr.runtime.lowering.layout import Layout
from lehr.runtime.lowering.steps import Halo, Machine, Operation, Place
from lehr.runtime.lowering.weights import Rows

CACHE = 24 * 1024  # bytes of a first-level cache that a tile's input may take
DENSE = 0.35  # density from which the dense kernel is tried first; the planner measures
PAIR = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """How a kernel goes over an image: sizes down and across."""

    kernel: PAIR = (1, 1)
    stride: PAIR = (1, 1)
    padding: PAIR = (0, 0)
    dilation: PAIR = (1, 1)

    def reach(self, axis: int) -> int:
        """Rows (columns) from the first weight to the last, with both."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def size(self, axis: int, size: int) -> int:
        """Rows (columns) of the output."""
        return (size + 2 * self.padding[axis] - self.reach(axis)) // self.stride[axis] + 1

    def input_patch(self, axis: int, grid: int, patch: int, size: int) -> int:
        """The rows (columns) that a patch of the input must have, so that its outputs are the outputs of one patch.

        At least `patch`; what a patch reads beyond itself must lie in the next one.
        """
        if grid == 1:
            return patch
        out, stride = self.size(axis, size), self.stride[axis]
        patch = max(patch, self.padding[axis], self.reach(axis) - self.padding[axis] - stride)
        while patch % stride or grid * (patch // stride) < out:
            patch += 1
        return patch

    def halo(self, layout: Layout) -> Halo:
        """The lines around a patch that are read."""
        sides = []
        for axis in (0, 1):
            whole = layout.grid[axis] == 1
            size = (layout.height, layout.width)[axis]
            out = self.size(axis, size) if whole else layout.patch[axis] // self.stride[axis]
            after = (out - 1) * self.stride[axis] + self.reach(axis) - self.padding[axis] - layout.patch[axis]
            sides.append((self.padding[axis], max(0, after)))
        return sides[0][0], sides[1][0], sides[0][1], sides[1][1]

    def output(self, layout: Layout, channels: int) -> Layout:
        """The layout of what comes out."""
        sizes = [self.size(axis, size) for axis, size in enumerate((layout.height, layout.width))]
        patch = [sizes[axis] if layout.grid[axis] == 1 else layout.patch[axis] // self.stride[axis] for axis in (0, 1)]
        return replace(
            layout, channels=channels, height=sizes[0], width=sizes[1], patch=(patch[0], patch[1]), halo=(0, 0, 0, 0)
        )

    def taps(self, layout: Layout) -> NDArray[np.int64]:
        """The line of each place of the kernel, from that of the first; row-major."""
        down = np.arange(self.kernel[0]) * self.dilation[0] * layout.row
        return (down[:, None] + np.arange(self.kernel[1]) * self.dilation[1]).reshape(-1)


@dataclass(frozen=True)
class Tiling:
    """How the work is cut: pixels of a tile, parts of the input channels, output channels at once (0: sparse).

    With 0 parts there are as many as it takes for what a tile reads of one part to fit into the first-level cache.
    """

    height: int = 1
    width: int = 1
    parts: int = 1
    group: int = 0


def convolution(
    rows: Rows,
    window: Window,
    groups: int,
    x: Place,
    y: Place,
    residual: Place | None,
    activation: str,
    tiling: Tiling,
    machine: Machine,
) -> Operation:
    """The operation for the engine: sparse, or dense where `tiling` has a group."""
    here, out = x.layout, y.layout
    inputs = here.channels // groups
    size = window.kernel[0] * window.kernel[1]
    first = (here.halo[0] - window.padding[0]) * here.row + here.halo[1] - window.padding[1]
    common: dict[str, Any] = {
        "in": x.base + first,
        "out": y.inside,
        "residual": -1 if residual is None else residual.inside,
        "channels": out.channels,
        "height": out.patch[0],
        "width": out.patch[1],
        "in_row": window.stride[0] * here.row,
        "step": window.stride[1],
        "out_channel": out.lines,
        "out_row": out.row,
        "residual_channel": 0 if residual is None else residual.layout.lines,
        "residual_row": 0 if residual is None else residual.layout.row,
        "activation": ACTIVATIONS.index(activation),
    }
    steps = [common["in_row"] == out.patch[1] * window.stride[1], out.row == out.patch[1]]
    steps.append(residual is None or residual.layout.row == out.patch[1])
    if all(steps):  # rows follow each other: one long row
        common |= {"height": 1, "width": out.patch[0] * out.patch[1]}
    channel, tap = np.divmod(rows.column, size)
    channel = channel + rows.row // max(1, out.channels // groups) * inputs
    offsets = (channel * here.lines + window.taps(here)[tap]).astype(np.int64)
    if tiling.group:
        return "dense", common | _dense(rows, window, x, tiling, machine, common)
    if not tiling.parts:
        down, across = (
            tiling.height * window.stride[0] + window.reach(0),
            tiling.width * window.stride[1] + window.reach(1),
        )
        read = 64 * here.channels * (down - 1) * (across - 1)
        tiling = replace(tiling, parts=max(1, min(here.channels, round(read / CACHE))))
    return "convolution", common | _sparse(rows, offsets, channel, here.channels, tiling, machine, common)


def _sparse(
    rows: Rows, offsets: NDArray[np.int64], channel: NDArray[np.int64], channels: int, tiling: Tiling, machine: Machine,
    common: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    part = channel * tiling.parts // max(1, channels)
    order = np.argsort(part * len(rows.bias) + rows.row, kind="stable")
    counts = np.bincount((part * len(rows.bias) + rows.row), minlength=tiling.parts * len(rows.bias))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    width, height = min(tiling.width, common["width"], 16), tiling.height
    width = width if width in (13, 16) else min(width, 8)
    while height > common["height"] or height * width > machine.most:
        height //= 2
        if not height:
            height, width = 1, machine.most
    tiles = -(-common["height"] // height) * -(-common["width"] // width)
    splits = (
        1
        if tiles >= 4 * machine.workers or machine.workers == 1
        else min(len(rows.bias), -(-2 * machine.workers // tiles))
    )
    return {
        "tile_height": height,
        "tile_width": width,
        "parts": tiling.parts,
        "splits": splits,
        "bounds": _bounds(np.bincount(rows.row, minlength=len(rows.bias)), splits),
        "rows": starts,
        "offsets": offsets[order].astype(np.int32),
        "values": rows.values[order],
        "bias": rows.bias,
    }


def _bounds(counts: NDArray[np.int64], splits: int) -> NDArray[np.int64]:
    """Output channels cut into runs of about the same work; a row costs some nonzeros of itself."""
    work = np.cumsum(counts + 8)
    cuts = np.searchsorted(work, work[-1] * np.arange(1, splits) / splits)
    return np.concatenate([[0], cuts, [len(counts)]]).astype(np.int64)


def _dense(
    rows: Rows, window: Window, x: Place, tiling: Tiling, machine: Machine, common: Mapping[str, Any]
) -> dict[str, Any]:
    """Without groups only: every output channel reads the same lines."""
    outputs, group = len(rows.bias), tiling.group
    taps = (np.arange(x.layout.channels)[:, None] * x.layout.lines + window.taps(x.layout)).reshape(-1)
    count = -(-outputs // group)
    weights = np.zeros((count * group, len(taps)), dtype=np.float32)
    weights[rows.row, rows.column] = rows.values
    bias = np.zeros(count * group, dtype=np.float32)
    bias[:outputs] = rows.bias
    width = max(1, min(tiling.width, common["width"], (machine.most + machine.most // 2) // group))
    tiles = common["height"] * -(-common["width"] // width)
    splits = 1 if tiles >= 4 * machine.workers else min(count, -(-2 * machine.workers // tiles))
    return {
        "tile_width": width,
        "group": group,
        "splits": splits,
        "taps": taps.astype(np.int32),
        "weights": np.ascontiguousarray(weights.reshape(count, group, len(taps)).transpose(0, 2, 1)).reshape(-1),
        "bias": bias,
    }
