"""Pools, and means over all pixels."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from lehr.runtime.graph import ACTIVATIONS
from lehr.runtime.lowering.convolution import Window
from lehr.runtime.lowering.fuse import Fused
from lehr.runtime.lowering.layers import windowed
from lehr.runtime.lowering.state import Lowering, rule
from lehr.runtime.lowering.steps import Need, Operation, Place, Step


@rule("max_pool")
def _max_pool(low: Lowering, one: Fused) -> None:
    _pool(low, one, largest=True)


@rule("avg_pool")
def _avg_pool(low: Lowering, one: Fused) -> None:
    _pool(low, one, largest=False)


def _pool(low: Lowering, one: Fused, *, largest: bool) -> None:
    told = one.node.attributes
    pairs = [tuple(told.get(name, (1, 1))) for name in ("kernel", "stride", "padding", "dilation")]
    window = Window(*pairs)
    source = windowed(low, one.inputs[0], window)
    here = low.values[source]
    layout = window.output(here, here.channels)

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        x, y = places[source], places[one.output]
        first = (x.layout.halo[0] - window.padding[0]) * x.layout.row + x.layout.halo[1] - window.padding[1]
        return [("pool", {
            "in": x.base + first, "out": y.inside, "channels": layout.channels, "height": layout.patch[0],
            "width": layout.patch[1], "in_row": window.stride[0] * x.layout.row, "step": window.stride[1],
            "in_channel": x.layout.lines, "out_channel": y.layout.lines, "out_row": y.layout.row, "largest": largest,
            "scale": 1.0 if largest else 1.0 / prod(window.kernel), "taps": window.taps(x.layout).astype(np.int32),
            "activation": ACTIVATIONS.index(one.activation),
        })]  # fmt: skip

    need = Need(window.halo(here), -np.inf if largest and any(window.padding) else 0.0)
    low.made(one.output, layout, "image", Step(one.output, one.node.op, {source: need}, one.output, emit))


@rule("mean")
def _mean(low: Lowering, one: Fused) -> None:
    """Over all pixels: of images, or of tokens."""
    name = one.inputs[0]
    here = low.values[name]
    layout = low.usual(here.channels, 1, 1)

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        x, y = places[name], places[one.output]
        sample, row, column = x.layout.pixels()
        every = np.arange(x.layout.lines).reshape(-1, x.layout.row)
        top, left = x.layout.halo[:2]
        lines = every[top : top + x.layout.patch[0], left : left + x.layout.patch[1]].reshape(-1)
        inside = (row[lines] < here.height) & (column[lines] < here.width)
        patches = layout.grid[0] * layout.grid[1]  # the first of a sample's lanes holds its mean
        return [("mean", {
            "in": x.base, "out": y.inside, "channels": here.channels, "in_channel": x.layout.lines,
            "out_channel": y.layout.lines, "lines": lines.astype(np.int32),
            "weights": inside.astype(np.float32).reshape(-1), "groups": (sample[0] * patches).astype(np.int32),
            "scale": 1.0 / (here.height * here.width),
        })]  # fmt: skip

    low.made(one.output, layout, "features", Step(one.output, "mean", {name: Need()}, one.output, emit))
