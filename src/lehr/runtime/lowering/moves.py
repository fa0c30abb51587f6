"""The same numbers elsewhere: images as features and as tokens, some of the tokens, some of the channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lehr.runtime.checked import ensure
from lehr.runtime.lowering.fuse import Fused
from lehr.runtime.lowering.layout import Layout
from lehr.runtime.lowering.operations import gather, table
from lehr.runtime.lowering.pointwise import pointwise
from lehr.runtime.lowering.state import LARGEST, Lowering, rule
from lehr.runtime.lowering.steps import Need, Operation, Place, Step
from lehr.runtime.lowering.weights import tensor, vector


@rule("flatten")
def _flatten(low: Lowering, one: Fused) -> None:
    """An image as features: channel, row, column."""
    name = one.inputs[0]
    here = low.values[name]
    pixels = here.height * here.width
    layout = low.usual(here.channels * pixels, 1, 1)

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        x, y = places[name], places[one.output]
        where = np.full((pixels, y.layout.lines * y.layout.lanes), -1, dtype=np.int32)
        where[:, y.layout.places.reshape(-1)] = x.layout.places.reshape(here.samples, pixels).T
        return [gather(x, y, where.reshape(-1), here.channels, target_channel=where.size)]

    low.made(one.output, layout, "features", Step(one.output, "flatten", {name: Need()}, one.output, emit))


@rule("tokens")
def _tokens(low: Lowering, one: Fused) -> None:
    """An image as tokens: its pixels by row and column."""
    here = low.values[one.inputs[0]]
    layout = low.usual(here.channels, 1, here.height * here.width)
    _remapped(low, one, layout, "tokens", lambda x, y: (y.places.reshape(-1), x.places.reshape(-1)))


@rule("token")
def _token(low: Lowering, one: Fused) -> None:
    """One token as features."""
    here, index = low.values[one.inputs[0]], one.node.attributes["index"]
    ensure(low.form[one.inputs[0]] == "tokens" and 0 <= index < here.width, f"there is no token {index}")
    layout = low.usual(here.channels, 1, 1)
    _remapped(low, one, layout, "features", lambda x, y: (y.places.reshape(-1), x.places[:, 0, index].reshape(-1)))


@rule("prepend")
def _prepend(low: Lowering, one: Fused) -> None:
    """Constant tokens before the others."""
    name, constant = one.inputs[0], one.node.attributes["constant"]
    here = low.values[name]
    values = tensor(low.tensors, constant)
    extra = values.size // here.channels
    ensure(low.form[name] == "tokens" and extra * here.channels == values.size and extra >= 1, "tokens do not fit")
    layout = low.usual(here.channels, 1, here.width + extra)
    # The others; the constant is added on top of the zeros before them.
    _remapped(low, one, layout, "tokens", lambda x, y: (y.places[:, :, extra:].reshape(-1), x.places.reshape(-1)))
    ensure(layout.total < LARGEST, "its activations would need more than 4 GiB")
    padded = np.zeros((here.width + extra, here.channels), dtype=np.float32)
    padded[:extra] = vector(low.tensors, constant).reshape(extra, here.channels)
    beside = f"{one.output}#constant"
    low.constant(beside, padded.T, low.values[one.output])
    emit = pointwise(one.output, beside, one.output)
    reads = {one.output: Need(), beside: Need()}
    low.steps.append(Step(one.output, "add_constant", reads, one.output, emit))


@rule("slice")
def _slice(low: Lowering, one: Fused) -> None:
    """Some of the channels, where they are."""
    name, first, count = one.inputs[0], one.node.attributes["first"], one.node.attributes["channels"]
    here = low.values[name]
    ensure(first >= 0 and 1 <= count <= here.channels - first, "channels that are not there")
    low.part(one.output, name, first, count)


def _remapped(
    low: Lowering,
    one: Fused,
    layout: Layout,
    form: str,
    pairs: Callable[[Layout, Layout], tuple[NDArray[Any], NDArray[Any]]],
) -> None:
    name = one.inputs[0]

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        x, y = places[name], places[one.output]
        return [gather(x, y, table(y.layout, *pairs(x.layout, y.layout)), layout.channels)]

    low.made(one.output, layout, form, Step(one.output, one.node.op, {name: Need()}, one.output, emit))
