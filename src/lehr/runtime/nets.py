"""The members of an ensemble on the engine, out of one file; NumPy and native code, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lehr.base.errors import LehrError, require
from lehr.runtime.checked import ensure
from lehr.runtime.file import Contents, read
from lehr.runtime.graph import graph_of
from lehr.runtime.native import native
from lehr.runtime.net import MANY, Net
from lehr.runtime.tensors import Stored

MOST = 256  # members of a file


class Nets:
    """Networks that answer together.

    Few samples are too little work for several threads: there members run beside each other, each on one thread, where there is one for every thread.
    Many samples are shared out by the members in turn. The bits are the same.

    Args:
        members: of the same inputs and outputs, with one output each, for the same number of threads.

    Raises:
        LehrError: there are none.

    >>> import lehr, torch
    >>> layers = [torch.nn.Linear(8, 2), torch.nn.Linear(8, 2)]
    >>> nets = Nets([lehr.compile(layer, example_inputs=torch.zeros(1, 8), threads=1).net for layer in layers])
    >>> x = np.zeros((3, 8), dtype=np.float32)
    >>> nets.members(x).shape, nets(x).shape, bool(np.array_equal(nets(x), mean_probabilities(nets.members(x))))
    ((2, 3, 2), (3, 2), True)
    """

    def __init__(self, members: Sequence[Net]) -> None:
        require(len(members) > 0, "an ensemble has no members: give at least one")
        self.nets = tuple(members)
        self.threads = members[0].threads
        self.beside = tuple(net.alone() for net in members) if 1 < self.threads <= len(members) else ()

    def members(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The outputs of every member, (M, N, classes), for inputs as `Net` takes them."""
        if self.beside:
            arrays, count = self.nets[0].checked(inputs)
            if 0 < count < MANY:
                return self._at_once(arrays, count)
        return np.stack([net(*inputs) for net in self.nets])

    def _at_once(self, arrays: Sequence[NDArray[np.float32]], count: int) -> NDArray[np.float32]:
        programs = [net.program(False) for net in self.beside]
        (shape,) = programs[0][1].shapes
        outputs = np.empty((len(programs), count, *shape), dtype=np.float32)
        native().run_beside([program for program, _ in programs], arrays, [[own] for own in outputs], self.threads)
        return outputs

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        """`mean_probabilities` of the members, (N, classes)."""
        return mean_probabilities(self.members(*inputs))


def mean_probabilities(members: NDArray[np.float32]) -> NDArray[np.float32]:
    """``log mean_m softmax(z_m)`` of logits (M, N, classes): logits of the mean of the members' probabilities.

    >>> mean_probabilities(np.zeros((2, 1, 4), dtype=np.float32)).tolist() == [[float(np.float32(np.log(0.25)))] * 4]
    True
    """
    outputs = members.astype(np.float64)
    own = outputs - np.logaddexp.reduce(outputs, axis=-1, keepdims=True)
    return np.asarray(np.logaddexp.reduce(own, axis=0) - np.log(len(own)), dtype=np.float32)


def load_nets(path: str | Path, *, threads: int | None = None) -> Nets:
    """The members of a self-contained family's file, ready to run; needs NumPy alone.

    Args:
        path: of the file.
        threads: of the engine; by default all cores.

    Raises:
        LehrError: the file is damaged, holds one network, or was written without example inputs.

    >>> import lehr, torch
    >>> layers = [torch.nn.Linear(8, 2), torch.nn.Linear(8, 2)]
    >>> _ = lehr.save_family(layers, "/tmp/_doc_nets.lehr", masks=[None, None], example_inputs=torch.zeros(1, 8))
    >>> load_nets("/tmp/_doc_nets.lehr")(np.zeros((3, 8), dtype=np.float32)).shape
    (3, 2)
    """
    contents = read(path)
    try:
        count = members_of(contents)
        require(count > 0, "it holds one network and no family: open it with lehr.runtime.load")
        require(contents.graph is not None, "it holds no graph: save it with example inputs")
        assert contents.graph is not None
        graph = graph_of(contents.graph)
        require(
            len(graph.outputs) == 1,
            f"its members have {len(graph.outputs)} outputs, and answers of one are put together",
        )
        return Nets([Net(graph, member_tensors(contents.tensors, i), threads=threads) for i in range(count)])
    except LehrError as error:
        raise LehrError(f"{path}: {error}") from None


def members_of(contents: Contents) -> int:
    """How many members a file has; 0 for one of a single network.

    Raises:
        LehrError: it says a number that it cannot have.
    """
    count = contents.about.get("members", 0)
    ensure(type(count) is int and 0 <= count <= min(MOST, len(contents.tensors)), f"it has {str(count)[:20]} members")
    return int(count)


def member_tensors(tensors: Mapping[str, Stored], number: int) -> dict[str, Stored]:
    """The tensors of one member by the names that its network has for them."""
    prefix = f"{number}/"
    mine = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name: _alone(tensor, name, prefix, mine) for name, tensor in mine.items()}


def _alone(tensor: Stored, name: str, prefix: str, mine: Mapping[str, Stored]) -> Stored:
    """The tensor without what refers to those of other members, whose values it has already."""
    tied = tensor.same.removeprefix(prefix) if tensor.same is not None and tensor.same.startswith(prefix) else None
    return replace(tensor, name=name, same=tied if tied in mine else None, outside=(), alike=None)
