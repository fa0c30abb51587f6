"""What is done number by number: sums and products of two activations, activation functions, batch-norms that stand alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lehr.runtime.checked import ensure
from lehr.runtime.graph import ACTIVATIONS
from lehr.runtime.lowering.fuse import Fused
from lehr.runtime.lowering.layout import Layout
from lehr.runtime.lowering.operations import gather, table
from lehr.runtime.lowering.state import Lowering, rule
from lehr.runtime.lowering.steps import Emit, Need, Operation, Place, Step
from lehr.runtime.lowering.weights import Floats, affine_of, tensor, vector

EMPTY: Floats = np.zeros(0, dtype=np.float32)


def pointwise(
    first: str, second: str | None, output: str, activation: str = "none", *, multiply: bool = False,
    scale: Floats = EMPTY, shift: Floats = EMPTY,
) -> Emit:  # fmt: skip
    """``act(first * scale + shift + second)``, or times the second."""

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        x, y = places[first], places[output]
        z = None if second is None else places[second]
        return [("pointwise", {
            "in": x.inside, "other": -1 if z is None else z.inside, "out": y.inside, "channels": y.layout.channels,
            "in_channel": x.layout.lines, "other_channel": 0 if z is None else z.layout.lines,
            "out_channel": y.layout.lines, "height": y.layout.patch[0], "width": y.layout.patch[1],
            "in_row": x.layout.row, "other_row": 0 if z is None else z.layout.row, "out_row": y.layout.row,
            "multiply": multiply, "activation": ACTIVATIONS.index(activation), "scale": scale, "shift": shift,
        })]  # fmt: skip

    return emit


@rule("add")
def _add(low: Lowering, one: Fused) -> None:
    _both(low, one, multiply=False)


@rule("multiply")
def _multiply(low: Lowering, one: Fused) -> None:
    _both(low, one, multiply=True)


def _both(low: Lowering, one: Fused, *, multiply: bool) -> None:
    first, second = one.inputs
    a, b = low.values[first], low.values[second]
    same = (a.channels, a.height, a.width) == (b.channels, b.height, b.width)
    gate = multiply and (b.height, b.width) == (1, 1) and a.channels == b.channels
    if not same and multiply and (a.height, a.width) == (1, 1) and a.channels == b.channels:
        first, second, a, b, gate = second, first, b, a, True
    ensure(same or gate, "two activations of different shapes")
    if not same:
        second = _spread(low, second, a)
    second = low.moved(second, a)
    emit = pointwise(first, second, one.output, one.activation, multiply=multiply)
    _made(low, one, one.node.op, emit, first, second)


def _spread(low: Lowering, name: str, to: Layout) -> str:
    """One number a channel, at every pixel of an image."""
    wide = f"{name}@{to.height}x{to.width}"
    here = low.values[name]

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        x, y = places[name], places[wide]
        source = np.broadcast_to(x.layout.places[:, :1, :1], y.layout.places.shape)
        return [gather(x, y, table(y.layout, y.layout.places.reshape(-1), source.reshape(-1)), here.channels)]

    layout = replace(to, channels=here.channels, halo=(0, 0, 0, 0))
    low.made(wide, layout, "image", Step(wide, "spread", {name: Need()}, wide, emit))
    return wide


@rule("activation")
def _activation(low: Lowering, one: Fused) -> None:
    name = one.inputs[0]
    _made(low, one, "activation", pointwise(name, None, one.output, one.node.attributes["kind"]), name)


@rule("batch_norm")
def _batch_norm(low: Lowering, one: Fused) -> None:
    name = one.inputs[0]
    exact = affine_of(one.node.attributes, low.tensors, low.values[name].channels)
    scale, shift = (numbers.astype(np.float32) for numbers in exact)
    emit = pointwise(name, None, one.output, one.activation, scale=scale, shift=shift)
    _made(low, one, "batch_norm", emit, name)


@rule("add_constant")
def _add_constant(low: Lowering, one: Fused) -> None:
    name, constant = one.inputs[0], f"{one.output}#constant"
    here = low.values[name]
    stored = tensor(low.tensors, one.node.attributes["constant"])
    ensure(stored.size == here.channels * here.height * here.width, "a constant of another shape")
    values = vector(low.tensors, stored.name)
    low.constant(constant, values.reshape(here.width, here.channels).T if low.form[name] == "tokens" else values, here)
    _made(low, one, "add_constant", pointwise(name, constant, one.output, one.activation), name, constant)


def _made(low: Lowering, one: Fused, kind: str, emit: Emit, *reads: str) -> None:
    """A value of the form of the first that is read."""
    layout = low.values[reads[0]].with_halo((0, 0, 0, 0))
    needs = {name: Need() for name in reads}
    low.made(one.output, layout, low.form[reads[0]], Step(one.output, kind, needs, one.output, emit))
