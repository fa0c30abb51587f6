"""Operations that change in place what other names see too: a graph of values has no such thing."""

from __future__ import annotations

import operator
from collections.abc import Iterator

from torch.fx import Graph, Node

# Operations whose result may be their input, besides those whose schema says so.
MAYBE = {"reshape", "flatten", "contiguous", "to", "dropout", "feature_dropout", "unflatten", "type_as", "expand_as"}


def changed_in_place(graph: Graph) -> str | None:
    """The first operation that changes in place what is read afterwards under another name; None where there is none.

    ``relu_`` on a fresh value is as good as ``relu``, if all that follows reads its result. Where a later operation reads the
    input itself, or another view of it, it would read the old values.

    >>> graph = Graph()
    >>> changed_in_place(graph) is None
    True
    """
    nodes = list(graph.nodes)
    place = {node: i for i, node in enumerate(nodes)}
    shares: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for source in _same_memory(node):
            shares[node].append(source)
            shares[source].append(node)
    for node in nodes:
        if _changes(node):
            named = _reached(node, {other: [n for n in shares[other] if place[n] > place[node]] for other in nodes})
            for other in _reached(node, shares) - named:
                if any(place[user] > place[node] for user in other.users):
                    return str(node.target).removeprefix("aten.").partition(".")[0]
    return None


def _reached(node: Node, edges: dict[Node, list[Node]]) -> set[Node]:
    found, open_ = {node}, [node]
    while open_:
        for other in edges[open_.pop()]:
            if other not in found:
                found.add(other)
                open_.append(other)
    return found


def _changes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _same_memory(node: Node) -> Iterator[Node]:
    """The inputs whose memory the result may be."""
    if node.target is operator.getitem:
        yield from node.all_input_nodes
        return
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return
    name = str(node.target).removeprefix("aten.").partition(".")[0]
    if name in MAYBE or any(one.alias_info is not None for one in schema.returns):
        yield from node.all_input_nodes[:1]
