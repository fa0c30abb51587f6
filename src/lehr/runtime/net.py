"""A network that runs on the engine: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lehr.base.environment import cores
from lehr.base.errors import LehrError, require, unknown
from lehr.runtime.file import read
from lehr.runtime.graph import Graph, graph_of
from lehr.runtime.lowering import Lowered, lower
from lehr.runtime.lowering.convolution import Tiling
from lehr.runtime.lowering.layout import LANES
from lehr.runtime.lowering.steps import Machine
from lehr.runtime.lowering.weights import Rows
from lehr.runtime.native import native
from lehr.runtime.plans import Plan
from lehr.runtime.tensors import Stored

MANY = 16  # samples from which a batch is cut in the way of large batches


class Net:
    """A network on the engine, for batches of any size.

    The first call with few samples, and the first with many, build a program. Calls from several threads are in order, and
    the same input gives the same bits whatever the number of threads.

    Args:
        graph: what is computed.
        tensors: its weights by name.
        threads: of the engine; by default all cores.
        kernels: ``avx512``, ``avx2`` or ``portable``; by default the best that the processor runs.
        dtype: of weights and activations: ``fp32``, or ``bf16`` for networks of images and features. Sums, biases and what is
            returned are fp32 in both.

    Raises:
        LehrError: there is no engine, or it cannot run the network like that.

    >>> import lehr, torch
    >>> layer = torch.nn.Linear(8, 2)
    >>> _ = lehr.select(layer, 0.5).apply_(layer)
    >>> net = lehr.compile(layer, example_inputs=torch.zeros(1, 8), threads=1).net
    >>> x = np.ones((3, 8), dtype=np.float32)
    >>> net(x).shape, bool(np.allclose(net(x), layer(torch.from_numpy(x)).detach(), atol=1e-6))
    ((3, 2), True)
    """

    def __init__(
        self,
        graph: Graph,
        tensors: Mapping[str, Stored],
        *,
        threads: int | None = None,
        kernels: str | None = None,
        dtype: str = "fp32",
    ) -> None:
        self.graph, self.tensors, self.dtype = graph, tensors, dtype
        if dtype not in LANES:
            raise unknown("dtype", dtype, LANES)
        require(
            dtype == "fp32" or halves(graph),
            "bf16 is for images and features without layer-norm and softmax: leave this in fp32",
        )
        self.threads, self.kernels = settled(threads, kernels)
        self.most: int = native().most_pixels(self.kernels, dtype == "bf16")
        self.plans = {many: Plan(self.ways(many)[0]) for many in (False, True)}
        self._programs: dict[bool, tuple[Any, Lowered]] = {}
        self._lock = Lock()

    def __call__(self, *inputs: NDArray[Any]) -> Any:
        """The outputs for a batch: one array, or a tuple where the network has several.

        Args:
            inputs: (N, C, H, W), (N, T, C) or (N, C), converted to fp32 if they are not.

        Raises:
            LehrError: an input is of another shape.
        """
        arrays, count = self.checked(inputs)
        program, lowered = self.program(count >= MANY)
        outputs = [np.empty((count, *shape), dtype=np.float32) for shape in lowered.shapes]
        if count:
            program.run(arrays, outputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def checked(self, inputs: Sequence[NDArray[Any]]) -> tuple[list[NDArray[np.float32]], int]:
        """The inputs as the engine takes them, and how many samples they hold.

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
        return arrays, counts.pop()

    def alone(self) -> Net:
        """The same network for one thread, its work cut in the same way: the same bits."""
        other = Net(self.graph, self.tensors, threads=1, kernels=self.kernels, dtype=self.dtype)
        other.plans = dict(self.plans)
        return other

    def ways(self, many: bool) -> tuple[int, ...]:
        """Into how many patches a sample may be cut, the usual number first; samples fill the rest of the lanes.

        Tokens are lanes, and so are the samples of features; of images, patches of one, or of some where there are many.
        """
        lanes = LANES[self.dtype]
        if has_tokens(self.graph):
            return (lanes,)
        if all(prod(shape[1:]) == 1 for _, shape in self.graph.inputs) or _flat(self.graph):
            return (1,)
        return (16, 4, 1) if many else (lanes,)

    def program(self, many: bool) -> tuple[Any, Lowered]:
        """The program for batches of 16 and more, or of fewer; built when it is first wanted."""
        with self._lock:
            if many not in self._programs:
                self._programs[many] = self.build(self.plans[many])
            return self._programs[many]

    def use(self, many: bool, plan: Plan) -> None:
        """Cut the work in another way from now on; outputs may change in their last bits."""
        with self._lock:
            self.plans[many] = plan
            self._programs.pop(many, None)

    def build(
        self, plan: Plan, tilings: Mapping[str, Tiling] | None = None, known: dict[str, Rows] | None = None
    ) -> tuple[Any, Lowered]:
        """A program for a plan, or with other tilings; `known` as for `lower`."""
        machine = Machine(plan.patches, LANES[self.dtype], self.threads, self.most)
        lowered = lower(self.graph, self.tensors, machine, plan.tilings if tilings is None else tilings, known)
        program = native().Program(
            max(1, lowered.lines), list(lowered.inputs), list(lowered.outputs), machine.samples, self.threads,
            self.kernels, self.dtype == "bf16",
        )  # fmt: skip
        program.alone(plan.alone)
        for line, words in lowered.constants:
            program.constant(line, words)
        for kind, told in lowered.operations:
            program.add(kind, told)
        return program, lowered


def has_tokens(graph: Graph) -> bool:
    """Whether any value is a sequence of tokens."""
    return any(len(shape) == 2 for _, shape in graph.inputs) or any(
        node.op in ("tokens", "attention") for node in graph.nodes
    )


def halves(graph: Graph) -> bool:
    """Whether the engine can run it in bf16: what works across the channels of a token or of features is fp32 only."""
    return not has_tokens(graph) and all(node.op not in ("layer_norm", "softmax") for node in graph.nodes)


def _flat(graph: Graph) -> bool:
    """Whether images are flattened before anything else."""
    inputs = {name for name, _ in graph.inputs}
    return all(node.op == "flatten" for node in graph.nodes if inputs & set(node.inputs))


def load(path: str | Path, *, threads: int | None = None) -> Net:
    """The network of a self-contained ``.lehr`` file, ready to run; needs NumPy alone.

    Args:
        path: of the file.
        threads: of the engine; by default all cores.

    Raises:
        LehrError: the file is damaged, or was packed without example inputs.

    >>> import lehr, torch
    >>> _ = lehr.save(torch.nn.Linear(8, 2), "/tmp/_doc_net.lehr", example_inputs=torch.zeros(1, 8))
    >>> load("/tmp/_doc_net.lehr")(np.zeros((3, 8), dtype=np.float32)).shape
    (3, 2)
    """
    contents = read(path)
    if contents.about.get("members"):
        raise LehrError(f"{path}: it holds a family: open it with lehr.runtime.load_nets")
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
    threads = threads if threads is not None else cores()
    require(1 <= threads <= 1024, f"threads is {threads}: give a number from 1")
    kernels = kernels if kernels is not None else str(engine.best_kernels())
    require(engine.has_kernels(kernels), f"this processor does not run the kernels {kernels!r}: leave kernels out")
    return threads, kernels


__all__: Sequence[str] = ["Net", "load"]
