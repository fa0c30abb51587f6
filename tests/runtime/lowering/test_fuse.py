"""What becomes a part of the operation before it, and what does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lehr.runtime.graph import Graph, Node
from lehr.runtime.lowering.fuse import INTO, Fused, fuse
from tests.runtime.nets import conv, graph, node

SHAPE = {"x": (2, 4, 4)}
NORM = {"mean": "m", "variance": "v", "epsilon": 1e-5}


def norm(source: str, output: str) -> Node:
    return node("batch_norm", source, output, **NORM)


def relu(source: str, output: str) -> Node:
    return node("activation", source, output, kind="relu")


def told(*nodes: Node, outputs: str | None = None) -> list[tuple[str, ...]]:
    """Each operation as its name with what it took in."""
    return [summary(one) for one in fuse(graph(SHAPE, *nodes, outputs=outputs))]


def summary(one: Fused) -> tuple[str, ...]:
    extra = [] if one.norm is None else ["norm"]
    extra += [] if one.residual is None else [f"+{one.residual}"]
    extra += [] if one.activation == "none" else [one.activation]
    return (one.node.op, *extra, one.output)


def test_a_block_becomes_two_operations():
    block = [conv("x", "a"), norm("a", "b"), relu("b", "c"), conv("c", "d"), norm("d", "e"), node("add", "e x", "f")]
    assert told(*block, relu("f", "g")) == [("conv", "norm", "relu", "c"), ("conv", "norm", "+x", "relu", "g")]


def test_of_two_convolutions_the_later_takes_in_the_other():
    both = [conv("x", "a"), conv("x", "b")]
    assert told(*both, node("add", "a b", "c")) == [("conv", "a"), ("conv", "+a", "c")]
    assert told(*both, node("add", "b a", "c")) == [("conv", "a"), ("conv", "+a", "c")], "whichever is named first"


def test_the_earlier_one_waits_for_what_it_takes_in():
    found = told(conv("x", "a"), node("max_pool", "x", "b"), node("add", "a b", "c"))
    assert found == [("max_pool", "b"), ("conv", "+b", "c")]


def test_a_value_added_to_itself_stays_an_addition():
    assert told(conv("x", "a"), node("add", "a a", "b")) == [("conv", "a"), ("add", "b")]
    assert told(node("add", "x x", "a")) == [("add", "a")]


def test_what_is_read_twice_or_comes_out_stays():
    twice = told(conv("x", "a"), relu("a", "b"), relu("a", "c"), outputs="b c")
    assert twice == [("conv", "a"), ("activation", "b"), ("activation", "c")]
    assert told(conv("x", "a"), relu("a", "b"), outputs="a b") == [("conv", "a"), ("activation", "b")]


def test_a_batch_norm_after_an_activation_or_a_sum_is_not_folded():
    assert told(conv("x", "a"), relu("a", "b"), norm("b", "c")) == [("conv", "relu", "b"), ("batch_norm", "c")]
    assert told(conv("x", "a"), node("add", "a x", "b"), norm("b", "c")) == [("conv", "+x", "b"), ("batch_norm", "c")]
    assert told(conv("x", "a"), norm("a", "b"), norm("b", "c")) == [("conv", "norm", "b"), ("batch_norm", "c")]
    assert told(norm("x", "a"), relu("a", "b")) == [("batch_norm", "relu", "b")]


def test_only_one_addition_and_one_activation_are_taken_in():
    assert told(conv("x", "a"), node("add", "a x", "b"), node("add", "b x", "c")) == [("conv", "+x", "b"), ("add", "c")]
    assert told(conv("x", "a"), relu("a", "b"), relu("b", "c")) == [("conv", "relu", "b"), ("activation", "c")]
    assert told(conv("x", "a"), relu("a", "b"), node("add", "b x", "c")) == [("conv", "relu", "b"), ("add", "c")]


def test_what_has_no_place_for_an_activation_does_not_take_it():
    assert told(node("softmax", "x", "a"), relu("a", "b")) == [("softmax", "a"), ("activation", "b")]
    assert told(relu("x", "a")) == [("activation", "a")]


@st.composite
def graphs(draw) -> Graph:
    names, nodes = ["x"], []
    for index in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(["conv", "batch_norm", "activation", "add", "multiply", "softmax", "max_pool"]))
        sources = [draw(st.sampled_from(names[-4:])) for _ in range(2 if op in ("add", "multiply") else 1)]
        attributes = {"conv": {"weight": "w"}, "batch_norm": NORM, "activation": {"kind": "relu"}}.get(op, {})
        nodes.append(Node(op, tuple(sources), f"v{index}", attributes))
        names.append(f"v{index}")
    outputs = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))
    return Graph((("x", (2, 4, 4)),), tuple(outputs), tuple(nodes))


@given(graphs())
def test_every_node_is_done_once_and_after_what_it_reads(made):
    found = fuse(made)
    assert sorted(name for one in found for name in one.names) == sorted(n.output for n in made.nodes)
    there = {"x"}
    for one in found:
        assert set(one.inputs) <= there
        there.add(one.output)
    assert set(made.outputs) <= there
    by_output = {n.output: n for n in made.nodes}
    for one in found:
        assert one.names[0] == one.node.output
        assert one.node is by_output[one.names[0]]
        ops = [by_output[name].op for name in one.names[1:]]
        assert ops == [
            op
            for op, there in (
                ("batch_norm", one.norm is not None),
                ("add", one.residual is not None),
                ("activation", one.activation != "none"),
            )
            if there
        ], "in the order in which the engine does them"
        assert one.node.op in INTO or (one.norm is None and one.residual is None)
