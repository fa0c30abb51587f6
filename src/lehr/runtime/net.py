"""A network that runs on the engine: arrays in, arrays out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lehr.base.errors import LehrError, require
from lehr.runtime.convolution import Tiling
from lehr.runtime.file import read
from lehr.runtime.graph import Graph, graph_of
from lehr.runtime.layout import LANES
from lehr.runtime.lower import Lowered, lower
from lehr.runtime.native import native
from lehr.runtime.steps import Machine
from lehr.runtime.tensors import Stored

Floats = NDArray[np.float32]


class Net:
    """A network on the engine, for batches of any size.

    The first call with a batch of one, and the first with sixteen or more, plan the network for it. Calls from several
    threads are in order, and the same input gives the same bits whatever the number of threads.
    """

    def __init__(
        self, graph: Graph, tensors: Mapping[str, Stored], *, threads: int | None = None, kernels: str | None = None
    ) -> None:
        self.graph, self.tensors = graph, tensors
        self.threads, self.kernels = settled(threads, kernels)
        self.most: int = native().most_pixels(self.kernels)
        self.alone = {1: False, LANES: False}  # whether one block is left to one thread, by samples in a block
        self.tilings: dict[int, dict[str, Tiling]] = {1: {}, LANES: {}}  # by samples in a block
        self._programs: dict[int, tuple[Any, Lowered]] = {}
        self._lock = Lock()

    def __call__(self, *inputs: NDArray[Any]) -> Any:
        """The outputs for a batch: one array, or a tuple where the network has several.

        Args:
            inputs: (N, C, H, W), (N, T, C) or (N, C), converted to fp32 if they are not.

        Raises:
            LehrError: an input is of another shape.
        """
        try:
            arrays = [np.ascontiguousarray(x, dtype=np.float32) for x in inputs]
        except (TypeError, ValueError) as error:
            raise LehrError(f"an input is no array of numbers ({error}): give arrays of floats") from None
        require(
            len(arrays) == len(self.graph.inputs), f"the network takes {len(self.graph.inputs)} inputs: give them all"
        )
        counts = set()
        for array, (name, shape) in zip(arrays, self.graph.inputs, strict=True):
            if array.shape[1:] != shape:
                raise LehrError(
                    f"{name} has shape {array.shape} and the network takes (batch, {', '.join(map(str, shape))})"
                )
            counts.add(len(array))
        require(len(counts) == 1, f"the inputs have batches of {sorted(counts)}: give one size")
        (count,) = counts
        program, lowered = self.program(self.samples(count))
        outputs = [np.empty((count, *shape), dtype=np.float32) for shape in lowered.shapes]
        if count:
            program.run(arrays, outputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def samples(self, count: int) -> int:
        """Samples that share the lanes for a batch of so many."""
        tokens = any(len(shape) == 2 for _, shape in self.graph.inputs) or any(
            node.op in ("tokens", "attention") for node in self.graph.nodes
        )
        plain = not tokens and (all(prod(shape[1:]) == 1 for _, shape in self.graph.inputs) or self._flat())
        return LANES if (count >= LANES and not tokens) or plain else 1

    def _flat(self) -> bool:
        """Whether images are flattened before anything else."""
        inputs = {name for name, _ in self.graph.inputs}
        return all(node.op == "flatten" for node in self.graph.nodes if inputs & set(node.inputs))

    def program(self, samples: int) -> tuple[Any, Lowered]:
        """The program for blocks of so many samples, built when it is first wanted."""
        with self._lock:
            if samples not in self._programs:
                self._programs[samples] = self.build(samples, self.tilings[samples])
            return self._programs[samples]

    def use(self, samples: int, tilings: Mapping[str, Tiling], *, alone: bool = False) -> None:
        """Cut the work in another way from now on; outputs may change in their last bits."""
        with self._lock:
            self.alone[samples] = alone
            self.tilings[samples] = dict(tilings)
            self._programs.pop(samples, None)

    def build(self, samples: int, tilings: Mapping[str, Tiling]) -> tuple[Any, Lowered]:
        """A program with these tilings."""
        engine = native()
        machine = Machine(samples, self.threads, self.most, self.kernels)
        lowered = lower(self.graph, self.tensors, machine, tilings)
        program = engine.Program(
            max(1, lowered.lines), list(lowered.inputs), list(lowered.outputs), samples, self.threads, self.kernels
        )
        program.alone(self.alone[samples])
        for place, floats in lowered.constants:
            program.constant(place, floats)
        for kind, told in lowered.operations:
            program.add(kind, told)
        return program, lowered


def load(path: str | Path, *, threads: int | None = None) -> Net:
    """The network of a self-contained ``.lehr`` file, ready to run; needs NumPy alone.

    Raises:
        LehrError: the file is damaged, or was packed without example inputs.
    """
    contents = read(path)
    if contents.graph is None:
        raise LehrError(
            f"{path} holds no graph: pack it with example inputs (lehr pack does), or open it with lehr.load"
        )
    try:
        return Net(graph_of(contents.graph), contents.tensors, threads=threads)
    except LehrError as error:
        raise LehrError(f"{path}: {error}") from None


def settled(threads: int | None, kernels: str | None) -> tuple[int, str]:
    """What is asked for, or all cores and the best kernels.

    Raises:
        LehrError: there is no engine, or it cannot be run like that.
    """
    engine = native()
    threads = threads if threads is not None else _cores()
    require(1 <= threads <= 1024, f"threads is {threads}: give a number from 1")
    kernels = kernels if kernels is not None else str(engine.best_kernels())
    require(engine.has_kernels(kernels), f"this processor does not run the kernels {kernels!r}: leave kernels out")
    return threads, kernels


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


__all__: Sequence[str] = ["Net", "load"]
