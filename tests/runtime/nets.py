"""Small networks for the engine, written down as they stand in a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lehr.runtime.graph import Graph, Node
from lehr.runtime.native import available, native
from lehr.runtime.net import Net
from lehr.runtime.tensors import Stored

Array = NDArray[Any]
KERNELS = [name for name in ("avx512", "avx2", "portable") if available() and native().has_kernels(name)]
NO_ENGINE = "NO ENGINE: lehr was installed without a C++ compiler"
PLAIN: dict[str, Any] = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}


def stored(**arrays: Any) -> dict[str, Stored]:
    """Dense tensors by name."""
    found = {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}
    return {name: Stored(name, "F32", array.shape, array.reshape(-1)) for name, array in found.items()}


def node(op: str, inputs: str, output: str, **attributes: Any) -> Node:
    """A node; `inputs` are names with spaces between them."""
    return Node(op, tuple(inputs.split()), output, attributes)


def conv(source: str, output: str, weight: str = "w", **attributes: Any) -> Node:
    """A convolution with stride 1 and no padding unless told otherwise."""
    return node("conv", source, output, weight=weight, **{**PLAIN, **attributes})


def graph(inputs: dict[str, tuple[int, ...]], *nodes: Node, outputs: str | None = None) -> Graph:
    """A graph whose output is that of its last node unless told otherwise."""
    return Graph(tuple(inputs.items()), tuple((outputs or nodes[-1].output).split()), nodes)


def run(of: Graph, tensors: dict[str, Stored], *inputs: Any, kernels: str | None = None, threads: int = 1) -> Array:
    """What comes out for a batch."""
    result: Array = Net(of, tensors, threads=threads, kernels=kernels)(*(np.asarray(x) for x in inputs))
    return result
