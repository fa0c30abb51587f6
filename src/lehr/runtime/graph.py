"""The graph of a network: what is computed from what, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lehr.runtime import checked
from lehr.runtime.checked import ensure

OWN = "graph:"  # what names of tensors begin with that only the graph has, and the state dict has not
ACTIVATIONS = ("none", "relu", "gelu", "silu", "sigmoid", "tanh", "gelu_tanh", "relu6", "hardswish")

# What each operation takes: its inputs, and its attributes with their kinds; those of OPTIONAL may be left out.
OPERATIONS: dict[str, tuple[int, dict[str, type]]] = {
    "conv": (1, {"weight": str, "bias": str, "stride": list, "padding": list, "dilation": list, "groups": int}),
    "linear": (1, {"weight": str, "bias": str}),
    "batch_norm": (1, {"weight": str, "bias": str, "mean": str, "variance": str, "epsilon": float}),
    "max_pool": (1, {"kernel": list, "stride": list, "padding": list, "dilation": list}),
    "avg_pool": (1, {"kernel": list, "stride": list, "padding": list}),
    "mean": (1, {}),
    "flatten": (1, {}),
    "tokens": (1, {}),
    "prepend": (1, {"constant": str}),
    "token": (1, {"index": int}),
    "slice": (1, {"first": int, "channels": int}),
    "add": (2, {}),
    "multiply": (2, {}),
    "add_constant": (1, {"constant": str}),
    "activation": (1, {"kind": str}),
    "layer_norm": (1, {"weight": str, "bias": str, "epsilon": float}),
    "softmax": (1, {}),
    "attention": (3, {"heads": int, "scale": float, "causal": bool}),
}
OPTIONAL = {"conv": ("bias",), "linear": ("bias",), "batch_norm": ("weight", "bias"), "layer_norm": ("weight", "bias")}


@dataclass(frozen=True)
class Node:
    """One operation: its inputs and its output are names of values."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A network, or a part of one.

    Args:
        inputs: name and shape of one sample: (C, H, W), (T, C) or (C,).
        outputs: names.
        nodes: in an order in which they can be done.
        shapes: of one sample of each output, where they are known.
    """

    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    shapes: tuple[tuple[int, ...], ...] = ()

    def plain(self) -> dict[str, Any]:
        """As it stands in a file."""
        return {
            "inputs": [[name, list(shape)] for name, shape in self.inputs],
            "outputs": list(self.outputs),
            "nodes": [[n.op, list(n.inputs), n.output, dict(n.attributes)] for n in self.nodes],
        } | ({"shapes": [list(shape) for shape in self.shapes]} if self.shapes else {})


def own(name: str) -> bool:
    """Whether a tensor is one that only the graph has, of the network or of one of several.

    >>> own("graph:ones"), own("3/graph:ones"), own("layers.1.weight")
    (True, True, False)
    """
    first, _, rest = name.partition("/")
    return name.startswith(OWN) or (first.isdecimal() and rest.startswith(OWN))


def graph_of(value: Mapping[str, Any]) -> Graph:
    """The graph back from a file, every name and kind checked; what the numbers mean is checked when it is lowered.

    Raises:
        LehrError: it is not what `Graph.plain` gives.
    """
    inputs = []
    for entry in checked.field(value, "inputs", list):
        ensure(isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str), "an input of its graph")
        inputs.append((entry[0], checked.shape_of({"shape": entry[1]})))
    known = {name for name, _ in inputs}
    ensure(
        len(known) == len(inputs) and all(map(_plain, known)), "an input of its graph is there twice, or has no name"
    )
    nodes = []
    for entry in checked.field(value, "nodes", list):
        ensure(isinstance(entry, list) and len(entry) == 4, "a node of its graph")
        op, sources, output, attributes = entry
        ensure(isinstance(op, str) and op in OPERATIONS, f"its graph has the operation {str(op)[:30]!r}")
        ensure(isinstance(output, str) and output not in known, "a value of its graph is there twice")
        ensure(_plain(output), "a value of its graph has no name")
        ensure(
            isinstance(sources, list) and all(isinstance(s, str) and s in known for s in sources), f"{op} has no input"
        )
        ensure(isinstance(attributes, dict), f"{op} has no attributes")
        _check(op, sources, attributes)
        known.add(output)
        nodes.append(Node(op, tuple(sources), output, attributes))
    outputs = checked.field(value, "outputs", list)
    ensure(
        bool(outputs) and all(isinstance(name, str) and name in known for name in outputs), "its graph has no output"
    )
    shapes = [checked.shape_of({"shape": shape}) for shape in checked.field(value, "shapes", list, [])]
    ensure(len(shapes) in (0, len(outputs)), "its graph has shapes for other outputs")
    return Graph(tuple(inputs), tuple(outputs), tuple(nodes), tuple(shapes))


def _plain(name: str) -> bool:
    """Whether a value may have this name: those with these letters are made when it is lowered."""
    return bool(name) and not set("#@") & set(name)


def _check(op: str, sources: Sequence[str], attributes: Mapping[str, Any]) -> None:
    count, kinds = OPERATIONS[op]
    ensure(len(sources) == count, f"{op} has {len(sources)} inputs")
    for name, kind in kinds.items():
        if name in OPTIONAL.get(op, ()) and name not in attributes:
            continue
        value: Any = checked.field(attributes, name, kind)
        if isinstance(value, list):
            ensure(
                len(value) == 2 and all(type(n) is int and 0 <= n <= 2**20 for n in value),
                f"{op} has {name} {str(value)[:40]}",
            )
    ensure(attributes.get("kind", "none") in ACTIVATIONS, f"{op} has an activation that is not known")
    for name in attributes.keys() - kinds.keys():
        ensure(False, f"{op} has a {name[:30]!r}")
