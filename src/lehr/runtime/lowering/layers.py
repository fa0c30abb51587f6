"""Convolutions and linear layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from lehr.runtime.checked import ensure
from lehr.runtime.lowering.convolution import DENSE, Tiling, Window, convolution
from lehr.runtime.lowering.fuse import Fused
from lehr.runtime.lowering.layout import Layout
from lehr.runtime.lowering.state import Lowering, rule
from lehr.runtime.lowering.steps import Machine, Need, Operation, Place, Step
from lehr.runtime.lowering.weights import Rows


@rule("conv")
def _conv(low: Lowering, one: Fused) -> None:
    told = one.node.attributes
    rows = low.rows(one)
    ensure(len(rows.shape) == 4, "a convolution's weight has not four sizes")
    window = Window(rows.shape[2:4], tuple(told["stride"]), tuple(told["padding"]), tuple(told["dilation"]))  # type: ignore[arg-type]
    groups = told["groups"]
    channels = low.values[one.inputs[0]].channels
    fits = groups >= 1 and rows.shape[1] * groups == channels and rows.shape[0] % groups == 0
    ensure(fits and low.form[one.inputs[0]] != "tokens", f"a convolution of {rows.shape} over {channels} channels")
    _layer(low, one, rows, window, groups, "image")


@rule("linear")
def _linear(low: Lowering, one: Fused) -> None:
    rows = low.rows(one)
    here, form = low.values[one.inputs[0]], low.form[one.inputs[0]]
    ensure(len(rows.shape) == 2 and here.channels == rows.shape[1], "a linear layer does not fit")
    ensure(form != "image" or here.height * here.width == 1, "a linear layer over an image")
    _layer(low, one, rows, Window(), 1, "features" if form == "image" else form)


def _layer(low: Lowering, one: Fused, rows: Rows, window: Window, groups: int, form: str) -> None:
    source = windowed(low, one.node.inputs[0], window)
    here = low.values[source]
    layout = window.output(here, rows.shape[0])
    if one.residual is not None:
        beside = low.values[one.residual]
        ensure((beside.height, beside.width) == (layout.height, layout.width), "a residual of another size")
    residual = None if one.residual is None else low.moved(one.residual, layout)
    if residual is not None:
        ensure(low.values[residual].channels == layout.channels, "a residual of other channels")
    tiling = low.tilings.get(one.output) or _guess(rows, layout, groups, low.machine)

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        r = None if residual is None else places[residual]
        x, y = places[source], places[one.output]
        return [convolution(rows, window, groups, x, y, r, one.activation, tiling, low.machine)]

    reads = ({} if residual is None else {residual: Need()}) | {source: Need(window.halo(here))}
    note = {
        "density": rows.density, "weights": prod(rows.shape), "nonzeros": len(rows.values),
        "pixels": layout.height * layout.width, "tiling": tiling, "groups": groups, "kernel": list(window.kernel),
    }  # fmt: skip
    low.made(one.output, layout, form, Step(one.output, one.node.op, reads, one.output, emit, note=note))


def windowed(low: Lowering, name: str, window: Window) -> str:
    """The activation with patches that suit a window."""
    here = low.values[name]
    for axis, size in enumerate((here.height, here.width)):
        ensure(min(window.kernel[axis], window.stride[axis], window.dilation[axis]) >= 1, "a window of size 0")
        ensure(window.size(axis, size) >= 1, "a window larger than its image")
    patch = [
        window.input_patch(axis, here.grid[axis], here.patch[axis], size)
        for axis, size in enumerate((here.height, here.width))
    ]
    return low.moved(name, replace(here, patch=(patch[0], patch[1])))


def _guess(rows: Rows, layout: Layout, groups: int, machine: Machine) -> Tiling:
    """A tiling that is seldom bad."""
    if rows.density >= DENSE and groups == 1:
        group = 8 if machine.most >= 8 else 4
        return Tiling(width=3 if group == 8 else 1, group=group)
    height, width = layout.patch
    if machine.most >= 16:
        return Tiling(4, 4) if height >= 4 and width >= 4 else Tiling(2, 8) if height >= 2 else Tiling(1, 16)
    return Tiling(1, machine.most) if width >= machine.most or height == 1 else Tiling(2, machine.most // 2)
