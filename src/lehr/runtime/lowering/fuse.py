"""Fewer operations that do the same: what follows an operation becomes a part of it, what only renames is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from lehr.runtime.graph import Graph, Node

INTO = ("conv", "linear")  # what can take in a batch-norm or a residual
ACTIVE = (*INTO, "add", "multiply", "add_constant", "batch_norm", "max_pool", "avg_pool")  # or an activation


@dataclass(frozen=True)
class Fused:
    """An operation with what follows it: ``act(norm(op(x)) + residual)``."""

    node: Node
    norm: Mapping[str, Any] | None = None
    residual: str | None = None
    activation: str = "none"
    names: tuple[str, ...] = field(default=())  # of the values that were taken in, the last being its own

    @property
    def output(self) -> str:
        """The name of what comes out."""
        return self.names[-1]

    @property
    def inputs(self) -> tuple[str, ...]:
        """All values that it reads."""
        return self.node.inputs if self.residual is None else (*self.node.inputs, self.residual)


def as_features(graph: Graph) -> Graph:
    """The same network, with features for an image that is flattened before anything else is done with it.

    >>> flat = Graph((("x", (1, 2, 2)),), ("y",), (Node("flatten", ("x",), "y"),))
    >>> as_features(flat)
    Graph(inputs=(('x', (4,)),), outputs=('x',), nodes=(), shapes=())
    """
    images = {name for name, shape in graph.inputs if len(shape) == 3 and name not in graph.outputs}
    images -= {name for node in graph.nodes for name in node.inputs if node.op != "flatten"}
    named = {node.output: node.inputs[0] for node in graph.nodes if node.inputs[0] in images}
    nodes = [replace(node, inputs=tuple(named.get(n, n) for n in node.inputs)) for node in graph.nodes]
    return replace(
        graph,
        inputs=tuple((name, (prod(shape),) if name in images else shape) for name, shape in graph.inputs),
        outputs=tuple(named.get(name, name) for name in graph.outputs),
        nodes=tuple(node for node in nodes if node.output not in named),
    )


def fuse(graph: Graph) -> list[Fused]:
    """The operations of a graph in an order in which they can be done, as few as can be.

    >>> conv = Node("linear", ("x",), "a", {"weight": "w"})
    >>> fused = fuse(Graph((("x", (2,)),), ("b",), (conv, Node("activation", ("a",), "b", {"kind": "relu"}))))
    >>> [(one.node.op, one.activation, one.output) for one in fused]
    [('linear', 'relu', 'b')]
    """
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    readers.update(graph.outputs)
    made: dict[str, Fused] = {}  # by output; in order

    def last(name: str) -> Fused | None:
        """What makes a value, if nothing else reads that."""
        return made.get(name) if readers[name] == 1 else None

    def grow(one: Fused, name: str, **changes: Any) -> None:
        del made[one.output]
        made[name] = replace(one, names=(*one.names, name), **changes)

    for node in graph.nodes:
        before = [last(name) for name in node.inputs]
        first = before[0]
        if node.op == "batch_norm" and first and first.node.op in INTO and _plain(first) and first.norm is None:
            grow(first, node.output, norm=node.attributes)
        elif node.op == "activation" and first and first.node.op in ACTIVE and first.activation == "none":
            grow(first, node.output, activation=node.attributes["kind"])
        elif node.op == "add" and (one := _taker(before, made)) and node.inputs[0] != node.inputs[1]:
            other = node.inputs[1] if one.output == node.inputs[0] else node.inputs[0]
            grow(one, node.output, residual=other)
        else:
            made[node.output] = Fused(node, names=(node.output,))
    return list(made.values())


def _plain(one: Fused) -> bool:
    return one.residual is None and one.activation == "none"


def _taker(before: list[Fused | None], made: Mapping[str, Fused]) -> Fused | None:
    """The later of the two, if it can take in the other; so that the other is there before it."""
    order = {name: place for place, name in enumerate(made)}
    can = [one for one in before if one and one.node.op in INTO and _plain(one)]
    return max(can, key=lambda one: order[one.output], default=None)
