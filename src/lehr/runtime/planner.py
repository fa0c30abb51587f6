"""Which way of cutting the work of each layer is the fastest on this machine: tried, not guessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from lehr.runtime.lowering import Lowered
from lehr.runtime.lowering.convolution import Tiling
from lehr.runtime.lowering.steps import Step
from lehr.runtime.lowering.weights import Rows
from lehr.runtime.net import MANY, Net
from lehr.runtime.plans import Choice, Plan, keep, key, recall

DENSE = 0.08  # density from which a dense kernel is tried: it does at most twelve times the work, without offsets
SMALL = 2e-4  # seconds below which waking a second thread may cost more than it gives
SECONDS = 0.06  # of measuring each candidate, in all rounds
ROUNDS = 3
BYTES = 2**30  # of programs that are measured in turns: those of a large network are not all alive at once
SHAPES = (
    (4, 4), (2, 8), (1, 16), (2, 4), (4, 2), (1, 8), (1, 13), (2, 7), (1, 6), (2, 3), (1, 4), (2, 2), (1, 3), (1, 2), (1, 1),
)  # fmt: skip


def candidates(most: int) -> list[Tiling]:
    """Ways to cut that are worth a try, for kernels with so many pixels in a tile: a tile has a quarter of them or more."""
    shapes = [(h, w) for h, w in SHAPES if max(1, most // 4) <= h * w <= most]
    sparse = [(h, w, 1) for h, w in shapes] + [(h, w, 0) for h, w in shapes if 2 * h * w >= most]
    dense = [
        (w, g)
        for w, g in ((3, 8), (2, 8), (1, 8), (6, 4), (4, 4), (2, 4), (1, 4))
        if g <= max(4, most) and most <= 2 * w * g <= 3 * most
    ]
    return [Tiling(h, w, parts) for h, w, parts in sparse] + [Tiling(width=w, group=g) for w, g in dense]


def plan(net: Net, count: int) -> Plan:
    """The fastest plan of a network for a batch of so many samples; it is put into the network, and kept for the next time.

    Every candidate is built into the whole network, so that each layer finds the caches as it will find them; the least of
    some runs counts. A dense kernel is tried where 8 % of the weights or more are there.
    """
    many = count >= MANY
    layers = {step.name: step.note["density"] for step in net.program(many)[1].steps if "density" in step.note}
    about = {
        "graph": net.graph.plain(), "densities": {name: round(density, 3) for name, density in layers.items()},
        "threads": net.threads, "kernels": net.kernels, "dtype": net.dtype, "many": many,
    }  # fmt: skip
    name = key(about)
    found = recall(name, frozenset(layers), net.ways(many))
    if found is None:
        found = _measured(net, count, many)
        keep(name, found)
    net.use(many, found)
    return found


def _measured(net: Net, count: int, many: bool) -> Plan:
    known: dict[str, Rows] = {}
    plans = [Plan(patches, _choices(net, patches, known)) for patches in net.ways(many)]
    if len(plans) > 1:
        plans = [min(plans, key=lambda one: _seconds(net, one, many, count))]
    (best,) = plans
    if net.threads > 1 and not many and _seconds(net, best, many, 1) < SMALL:
        best = min(best, Plan(best.patches, best.choices, alone=True), key=lambda one: _seconds(net, one, many, 1))
    return best


def _choices(net: Net, patches: int, known: dict[str, Rows]) -> tuple[Choice, ...]:
    """The fastest tiling of each layer."""
    _, lowered = net.build(Plan(patches), known=known)
    layers = [step for step in lowered.steps if "density" in step.note]
    del lowered
    best: dict[str, dict[bool, tuple[float, Tiling]]] = {}
    for group in _groups(net, patches, layers, known):
        # In turns: a machine that is slow for a while is slow for all of them.
        for _ in range(ROUNDS):
            for tiling, program, rows in group:
                first = sum(program.times(1))
                times = program.times(int(np.clip(SECONDS / ROUNDS / max(first, 1e-6), 1, 20)))
                for name, index in rows.items():
                    found = best.setdefault(name, {})
                    dense = tiling.group > 0
                    if dense not in found or times[index] < found[dense][0]:
                        found[dense] = (times[index], tiling)
        del program
        group.clear()  # before the next ones are built
    chosen = []
    for step in layers:
        found = best[step.name]
        dense = min(found, key=lambda kind: found[kind][0])
        seconds, tiling = found[dense]
        other = found.get(not dense)
        chosen.append(Choice(step.name, tiling, seconds, None if other is None else other[0], step.note["density"]))
    return tuple(chosen)


def _groups(
    net: Net, patches: int, layers: Sequence[Step], known: dict[str, Rows]
) -> Iterator[list[tuple[Tiling, Any, dict[str, int]]]]:
    """Programs to be measured together, each with the layers that are cut in its way and the operation of each."""
    group: list[tuple[Tiling, Any, dict[str, int]]] = []
    size = 0
    for tiling in candidates(net.most):
        # Not for groups is a dense kernel, nor where it cannot win.
        tried = {
            step.name: tiling
            for step in layers
            if not tiling.group or (step.note["groups"] == 1 and step.note["density"] >= DENSE)
        }
        if not tried:
            continue
        program, lowered = net.build(Plan(patches), tried, known)
        group.append((tiling, program, _of_layers(lowered, tiling)))
        size += _bytes(lowered)
        if size >= BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _seconds(net: Net, plan: Plan, many: bool, count: int) -> float:
    """The median time of a batch."""
    net.use(many, plan)
    inputs = [np.zeros((count, *shape), dtype=np.float32) for _, shape in net.graph.inputs]
    times = []
    for repeat in range(21):
        begin = perf_counter()
        net(*inputs)
        times.append(perf_counter() - begin)
        if repeat > 3 and sum(times) > 1:
            break
    return sorted(times)[len(times) // 2]


def _of_layers(lowered: Lowered, tiling: Tiling) -> dict[str, int]:
    """The operation of each layer that was cut like this."""
    layers = {step.name for step in lowered.steps if step.note.get("tiling") == tiling}
    rows = enumerate(zip(lowered.names, lowered.operations, strict=True))
    return {name: index for index, (name, (kind, _)) in rows if name in layers and kind in ("convolution", "dense")}


def _bytes(lowered: Lowered) -> int:
    """About what a program takes: its arena and the arrays of its operations."""
    arrays = (told.nbytes for _, one in lowered.operations for told in one.values() if isinstance(told, np.ndarray))
    return 64 * lowered.lines + sum(arrays)
