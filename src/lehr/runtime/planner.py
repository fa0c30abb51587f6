"""Which way of cutting the work of each layer is the fastest on this machine: tried, not guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from lehr.runtime.convolution import Tiling
from lehr.runtime.lower import Lowered
from lehr.runtime.net import Net

DENSE = 0.08  # density from which a dense kernel is tried: it does at most twelve times the work, without offsets
SMALL = 2e-4  # seconds below which waking a second thread may cost more than it gives
SECONDS = 0.05  # of measuring each candidate


@dataclass(frozen=True)
class Choice:
    """How a layer is run and what it costs.

    Args:
        name: of the layer's output in the graph.
        tiling: the fastest; ``tiling.group`` above 0 is the dense kernel.
        density: nonzeros over weights.
        seconds: of it, and of the fastest of the other kind (None where that was not tried).
    """

    name: str
    tiling: Tiling
    seconds: float
    other: float | None
    density: float


def candidates(most: int) -> list[Tiling]:
    """Ways to cut that are worth a try, for kernels with so many pixels in a tile."""
    if most >= 16:
        shapes = [(4, 4), (2, 8), (1, 16), (2, 4), (1, 8), (1, 13), (2, 7), (1, 4)]
        sparse = [(h, w, 1) for h, w in shapes] + [(h, w, 0) for h, w in shapes[:5]]
        dense = [(3, 8), (2, 8), (6, 4), (4, 4)]
    else:
        sparse = [(1, most, 1), (2, most // 2, 1), (1, max(1, most // 2), 1), (1, most, 0)]
        dense = [(1, 4), (2, 4)] if most >= 6 else [(1, 4)]
    return [Tiling(h, w, parts) for h, w, parts in sparse] + [Tiling(width=w, group=g) for w, g in dense]


def plan(net: Net, samples: int) -> list[Choice]:
    """Choose the tilings of a network for blocks of so many samples, and put them into it.

    Every candidate is built into the whole network, so that each layer finds the caches as it will find them; the least of
    some runs counts. A dense kernel is tried where 8 % of the weights or more are there.
    """
    best: dict[str, dict[bool, tuple[float, Tiling]]] = {}
    for tiling in candidates(net.most):
        tried = _everywhere(net, samples, tiling)
        if not tried:
            continue
        program, lowered = net.build(samples, tried)
        first = sum(program.times(1))
        times = program.times(int(np.clip(SECONDS / max(first, 1e-6), 2, 50)))
        for name, seconds in _by_layer(lowered, times).items():
            if name not in tried:
                continue
            found = best.setdefault(name, {})
            dense = tiling.group > 0
            if dense not in found or seconds < found[dense][0]:
                found[dense] = (seconds, tiling)
    densities = {s.name: s.note["density"] for s in net.program(samples)[1].steps if "density" in s.note}
    chosen = []
    for name, found in best.items():
        dense = min(found, key=lambda kind: found[kind][0])
        seconds, tiling = found[dense]
        other = found.get(not dense)
        chosen.append(Choice(name, tiling, seconds, None if other is None else other[0], densities[name]))
    tilings = {choice.name: choice.tiling for choice in chosen}
    net.use(samples, tilings)
    if net.threads > 1 and net.samples(1) == samples and (together := _seconds(net)) < SMALL:
        net.use(samples, tilings, alone=True)
        if _seconds(net) > together:
            net.use(samples, tilings)
    return chosen


def _seconds(net: Net) -> float:
    """The median time of a batch of one."""
    inputs = [np.zeros((1, *shape), dtype=np.float32) for _, shape in net.graph.inputs]
    times = []
    for _ in range(21):
        begin = perf_counter()
        net(*inputs)
        times.append(perf_counter() - begin)
    return sorted(times)[len(times) // 2]


def _everywhere(net: Net, samples: int, tiling: Tiling) -> dict[str, Tiling]:
    """The candidate for every layer that may have it; a dense one not for groups, nor where it cannot win."""
    _, lowered = net.program(samples)
    layers = [step for step in lowered.steps if "density" in step.note]
    return {
        step.name: tiling
        for step in layers
        if not tiling.group or (step.note["groups"] == 1 and step.note["density"] >= DENSE)
    }


def _by_layer(lowered: Lowered, times: Sequence[float]) -> dict[str, float]:
    """Seconds of each layer whose work can be cut."""
    layers = {step.name for step in lowered.steps if "density" in step.note}
    rows = zip(lowered.names, lowered.operations, times, strict=True)
    return {name: seconds for name, (kind, _), seconds in rows if name in layers and kind in ("convolution", "dense")}
