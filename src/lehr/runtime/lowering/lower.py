"""All of a network: rules one after the other, then halos, then places in the arena."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from lehr.runtime.checked import ensure
from lehr.runtime.graph import Graph
from lehr.runtime.lowering.arena import allot
from lehr.runtime.lowering.convolution import Tiling
from lehr.runtime.lowering.ends import enter, leave
from lehr.runtime.lowering.fuse import as_features, fuse
from lehr.runtime.lowering.layout import WORDS, Layout
from lehr.runtime.lowering.operations import border
from lehr.runtime.lowering.state import LARGEST, RULES, Lowering
from lehr.runtime.lowering.steps import Machine, Operation, Place, Step
from lehr.runtime.lowering.weights import Floats, Rows
from lehr.runtime.tensors import Stored
from lehr.runtime.values import rounded

SCRATCH = Layout(1, 1, 1, 1, (4, 4), (1, 1))


@dataclass(frozen=True)
class Lowered:
    """What a program is built from.

    Args:
        lines: of the arena.
        inputs, outputs: numbers of each array for one sample.
        shapes: of one sample of each output.
        constants: words that are in the arena from the start, with the first line of each.
        operations: in order.
        names: of the step that each operation belongs to.
        steps: as they were planned.
    """

    lines: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    constants: tuple[tuple[int, Floats], ...]
    operations: tuple[Operation, ...]
    names: tuple[str, ...]
    steps: tuple[Step, ...]


def lower(
    graph: Graph,
    tensors: Mapping[str, Stored],
    machine: Machine,
    tilings: Mapping[str, Tiling] | None = None,
    known: dict[str, Rows] | None = None,
) -> Lowered:
    """The operations of a network.

    Args:
        graph: what is computed.
        tensors: its weights by name.
        machine: what it is lowered for.
        tilings: how the work of convolutions and linear layers is cut, by the name of their outputs; a guess where missing.
        known: what layers' weights were found to be; filled here, for the next time with the same graph and tensors.

    Raises:
        LehrError: shapes and weights do not fit together.
    """
    whole, graph = graph, as_features(graph)
    low = Lowering(tensors, machine, tilings or {}, known={} if known is None else known)
    for index, (name, shape) in enumerate(graph.inputs):
        enter(low, index, name, shape)
    for one in fuse(graph):
        RULES[one.node.op](low, one)
    for index, name in enumerate(graph.outputs):
        leave(low, index, name)
    _widen(low)
    lines, places, scratch = _placed(low)
    operations, names = _operations(low, {**places, **scratch})
    shapes = tuple(_shape(low, name) for name in graph.outputs)
    if whole.shapes:
        ensure(tuple(map(prod, shapes)) == tuple(map(prod, whole.shapes)), "its outputs are of other sizes")
        shapes = whole.shapes
    return Lowered(
        lines, tuple(prod(shape) for _, shape in graph.inputs), tuple(map(prod, shapes)), shapes,
        tuple((places[name].base, _words(low, name)) for name in low.constants),
        tuple(operations), tuple(names), tuple(low.steps),
    )  # fmt: skip


def _widen(low: Lowering) -> None:
    """Every activation gets the widest halo that is asked for."""
    for step in low.steps:
        for name, need in step.reads.items():
            layout = low.values[low.whole(name)]
            halo = tuple(max(pair) for pair in zip(layout.halo, need.halo, strict=True))
            low.values[low.whole(name)] = layout.with_halo((halo[0], halo[1], halo[2], halo[3]))
    for name in low.parts:
        low.values[name] = low.values[name].with_halo(low.values[low.whole(name)].halo)


def _placed(low: Lowering) -> tuple[int, dict[str, Place], dict[str, Place]]:
    """Lines in all, where activations lie, and where what steps need for themselves."""
    lives: dict[str, tuple[int, int]] = {name: (0, len(low.steps)) for name in low.constants}
    for place, step in enumerate(low.steps):
        if step.writes:
            lives.setdefault(step.writes, (place, place))
        for name in map(low.whole, step.reads):
            lives[name] = (lives[name][0], max(place, lives[name][1]))
    sizes = {name: layout.total for name, layout in low.values.items() if name in lives}
    for place, step in enumerate(low.steps):
        if step.scratch:
            sizes[f"{step.name}#scratch"] = step.scratch
            lives[f"{step.name}#scratch"] = (place, place)
    ensure(sum(sizes.values()) < LARGEST, "its activations would need more than 4 GiB")
    base, lines = allot(sizes, lives)
    places = {name: Place(low.values[name], base[name]) for name in low.values if name in base}
    for name, (whole, first) in low.parts.items():
        if whole in places:
            places[name] = Place(low.values[name], places[whole].base + first * low.values[name].lines)
    return lines, places, {name: Place(SCRATCH, line) for name, line in base.items() if name.endswith("#scratch")}


def _operations(low: Lowering, places: Mapping[str, Place]) -> tuple[list[Operation], list[str]]:
    """What the engine is told, with the names of the steps; a halo is filled before the first that needs it."""
    operations: list[Operation] = []
    names: list[str] = []
    filled: dict[str, float] = {}
    for step in low.steps:
        for name, need in step.reads.items():
            if any(need.halo) and filled.get(name) != need.fill and name not in low.constants:
                whole = low.whole(name)
                filled = {other: fill for other, fill in filled.items() if low.whole(other) != whole}  # one memory
                filled[name] = need.fill
                if (operation := border(places[name], need.fill)) is not None:
                    operations.append(operation)
                    names.append(f"{step.name} (border)")
        for operation in step.emit(places):
            operations.append(operation)
            names.append(step.name)
    return operations, names


def _words(low: Lowering, name: str) -> Floats:
    """A constant in its layout, as words of 32 bits."""
    layout = low.values[name]
    result = np.zeros((layout.channels, layout.lines * layout.lanes), dtype=np.float32)
    values = low.constants[name].reshape(layout.channels, -1)
    for sample in range(layout.samples):
        result[:, layout.places[sample].reshape(-1)] = values
    return result.reshape(-1) if layout.lanes == WORDS else rounded(result, "F32", "BF16").reshape(-1).view(np.float32)


def _shape(low: Lowering, name: str) -> tuple[int, ...]:
    layout, form = low.values[name], low.form[name]
    if form == "image":
        return layout.channels, layout.height, layout.width
    return (layout.width, layout.channels) if form == "tokens" else (layout.channels,)
