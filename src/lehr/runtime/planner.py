"""Which way of cutting the work of each layer is the fastest on this machine: tried, not guessed."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from lehr.runtime.lowering import Lowered
from lehr.runtime.lowering.convolution import Tiling
from lehr.runtime.lowering.weights import Rows
from lehr.runtime.net import MANY, Net
from lehr.runtime.plans import Choice, Plan, keep, key, recall

DENSE = 0.08  # density from which a dense kernel is tried: it does at most twelve times the work, without offsets
SMALL = 2e-4  # seconds below which waking a second thread may cost more than it gives
SECONDS = 0.06  # of measuring each candidate, in all rounds
ROUNDS = 3
SHAPES = (
    (4, 4),
    (2, 8),
    (1, 16),
    (2, 4),
    (4, 2),
    (1, 8),
    (1, 13),
    (2, 7),
    (1, 6),
    (2, 3),
    (1, 4),
    (2, 2),
    (1, 3),
    (1, 2),
    (1, 1),
)


def candidates(most: int) -> list[Tiling]:
    """Ways to cut that are worth a try, for kernels with so many pixels in a tile: a tile has a third of them or more."""
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
    empty = Plan(patches)
    _, lowered = net.build(empty, known=known)
    layers = [step for step in lowered.steps if "density" in step.note]
    programs: list[tuple[Tiling, Any, Lowered]] = []
    for tiling in candidates(net.most):
        # Not for groups is a dense kernel, nor where it cannot win.
        tried = {
            step.name: tiling
            for step in layers
            if not tiling.group or (step.note["groups"] == 1 and step.note["density"] >= DENSE)
        }
        if tried:
            programs.append((tiling, *net.build(empty, tried, known)))
    best: dict[str, dict[bool, tuple[float, Tiling]]] = {}
    # In turns: a machine that is slow for a while is slow for all of them.
    for _ in range(ROUNDS):
        for tiling, program, lowered in programs:
            first = sum(program.times(1))
            times = program.times(int(np.clip(SECONDS / ROUNDS / max(first, 1e-6), 1, 20)))
            for name, seconds in _by_layer(lowered, times, tiling).items():
                found = best.setdefault(name, {})
                dense = tiling.group > 0
                if dense not in found or seconds < found[dense][0]:
                    found[dense] = (seconds, tiling)
    chosen = []
    for step in layers:
        found = best[step.name]
        dense = min(found, key=lambda kind: found[kind][0])
        seconds, tiling = found[dense]
        other = found.get(not dense)
        chosen.append(Choice(step.name, tiling, seconds, None if other is None else other[0], step.note["density"]))
    return tuple(chosen)


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


def _by_layer(lowered: Lowered, times: Sequence[float], tiling: Tiling) -> dict[str, float]:
    """Seconds of each layer that was cut like this."""
    layers = {step.name for step in lowered.steps if step.note.get("tiling") == tiling}
    rows = zip(lowered.names, lowered.operations, times, strict=True)
    return {name: seconds for name, (kind, _), seconds in rows if name in layers and kind in ("convolution", "dense")}
