"""Graphs come back from JSON as they were, and whatever a file says else is one sentence or a result."""

from __future__ import annotations

import contextlib
import copy
import json
import resource
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lehr.base.errors import LehrError
from lehr.runtime.graph import OPERATIONS, Graph, graph_of
from lehr.runtime.lowering import lower
from lehr.runtime.lowering.steps import Machine
from lehr.runtime.native import available
from lehr.runtime.net import Net
from tests.runtime.forged import leaves
from tests.runtime.nets import conv, graph, node, stored

RNG = np.random.default_rng(0)
TENSORS = stored(
    w=RNG.normal(size=(4, 3, 3, 3)), w4=RNG.normal(size=(4, 4, 1, 1)), b=RNG.normal(size=4), l=RNG.normal(size=(12, 4)),
    head=RNG.normal(size=(3, 4)), token=RNG.normal(size=(1, 1, 4)), places=RNG.normal(size=(1, 17, 4)),
)  # fmt: skip
NORM = {"weight": "b", "bias": "b", "mean": "b", "variance": "b", "epsilon": 30.0}
POOL = {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0]}

IMAGES = graph(
    {"x": (3, 8, 8), "y": (4, 8, 8)},
    conv("x", "a", bias="b", padding=[1, 1]),
    node("batch_norm", "a", "n", **NORM),
    node("add", "n y", "c"),
    node("activation", "c", "d", kind="relu"),
    conv("d", "e", "w4", stride=[2, 2]),
    node("max_pool", "d", "f", dilation=[1, 1], **POOL),
    node("multiply", "e f", "g"),
    node("avg_pool", "g", "h", **POOL),
    node("mean", "h", "i"),
    node("linear", "i", "j", weight="head"),
    node("flatten", "h", "k"),
    outputs="j k",
)
TOKENS = graph(
    {"x": (4, 4, 4)},
    node("tokens", "x", "t"),
    node("prepend", "t", "p", constant="token"),
    node("add_constant", "p", "q", constant="places"),
    node("layer_norm", "q", "r", weight="b", bias="b", epsilon=1e-5),
    node("linear", "r", "s", weight="l"),
    node("slice", "s", "sq", first=0, channels=4),
    node("slice", "s", "sk", first=4, channels=4),
    node("slice", "s", "sv", first=8, channels=4),
    node("attention", "sq sk sv", "u", heads=2, scale=0.7, causal=True),
    node("softmax", "u", "v"),
    node("token", "v", "w", index=0),
)


def plain(of: Graph) -> dict[str, Any]:
    """As it comes out of a file."""
    return json.loads(json.dumps(of.plain()))


def test_a_graph_by_hand():
    found = graph_of(
        {"inputs": [["x", [4]]], "outputs": ["y"], "nodes": [["activation", ["x"], "y", {"kind": "relu"}]]}
    )
    assert found == graph({"x": (4,)}, node("activation", "x", "y", kind="relu"))


@pytest.mark.parametrize("of", [IMAGES, TOKENS], ids=["images", "tokens"])
def test_graphs_come_back(of):
    assert graph_of(plain(of)) == of


def test_every_operation_is_among_those_that_come_back():
    assert {n.op for of in (IMAGES, TOKENS) for n in of.nodes} == set(OPERATIONS)


CONV = ["conv", ["x"], "y", {"weight": "w", "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}]


def changed(**attributes: Any) -> list[Any]:
    return [*CONV[:3], {**CONV[3], **attributes}]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([["conv2d", ["x"], "y", {}]], "its graph has the operation 'conv2d'"),
        ([[None, ["x"], "y", {}]], "its graph has the operation 'None'"),
        ([["mean", ["z"], "y", {}]], "mean has no input"),
        ([["mean", ["y"], "y", {}]], "mean has no input"),
        ([["mean", ["a"], "y", {}], ["mean", ["y"], "a", {}]], "mean has no input"),
        ([["mean", "x", "y", {}]], "mean has no input"),
        ([["mean", ["x", "x"], "y", {}]], "mean has 2 inputs"),
        ([["add", ["x"], "y", {}]], "add has 1 inputs"),
        ([["mean", ["x"], "x", {}]], "a value of its graph is there twice"),
        ([["mean", ["x"], 3, {}]], "a value of its graph is there twice"),
        ([["mean", ["x"], "y", []]], "mean has no attributes"),
        ([["mean", ["x"], "y"]], "a node of its graph"),
        (["mean"], "a node of its graph"),
        ({}, "its nodes is"),
        ([["mean", ["x"], "y", {"axis": 1}]], "mean has a 'axis'"),
        ([["activation", ["x"], "y", {"kind": "swish"}]], "activation that is not known"),
        ([["activation", ["x"], "y", {}]], "its kind is"),
        ([["token", ["x"], "y", {"index": 1.0}]], "its index is '1.0'"),
        ([["token", ["x"], "y", {"index": True}]], "its index is 'True'"),
        ([changed(groups=None)], "its groups is"),
        ([changed(weight=3)], "its weight is"),
        ([changed(stride=1)], "its stride is"),
        ([changed(stride=[1])], r"conv has stride \[1\]"),
        ([changed(stride=[1, -1])], r"conv has stride \[1, -1\]"),
        ([changed(padding=[0.5, 0])], r"conv has padding \[0.5, 0\]"),
        ([changed(dilation=[2**21, 1])], "conv has dilation"),
    ],
)
def test_a_lie_about_a_node_is_one_sentence(nodes, message):
    with pytest.raises(LehrError, match=rf"^the file is damaged \(.*{message}.*\): get it again$"):
        graph_of({"inputs": [["x", [4]]], "outputs": ["y"], "nodes": nodes})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": [["x"]]}, "an input of its graph"),
        ({"inputs": [[1, [4]]]}, "an input of its graph"),
        ({"inputs": [["x", 4]]}, "its shape is '4'"),
        ({"inputs": [["x", [-4]]]}, "its shape is"),
        ({"inputs": [["x", [2**39, 2**39]]]}, "its shape is"),
        ({"inputs": {}}, "its inputs is"),
        ({"inputs": []}, "has no input"),
        ({"outputs": []}, "its graph has no output"),
        ({"outputs": ["z"]}, "its graph has no output"),
        ({"outputs": [["x"]]}, "its graph has no output"),
        ({"outputs": "x"}, "its outputs is"),
    ],
)
def test_a_lie_about_inputs_and_outputs_is_one_sentence(change, message):
    with pytest.raises(LehrError, match=message):
        graph_of({"inputs": [["x", [4]]], "outputs": ["y"], "nodes": [["mean", ["x"], "y", {}]], **change})


def test_two_inputs_of_one_name_are_a_lie():
    with pytest.raises(LehrError, match="twice"):
        graph_of({"inputs": [["x", [4]], ["x", [5]]], "outputs": ["x"], "nodes": []})


def test_a_sentence_is_short_whatever_the_file_says():
    with pytest.raises(LehrError) as told:
        graph_of({"inputs": [["x", [4]]], "outputs": ["y"], "nodes": [changed(stride=[1] * 10_000)]})
    assert len(str(told.value)) < 500


# -- what the numbers mean ----------------------------------------------------------------------------------


@contextmanager
def little_memory(most: int = 3 << 30) -> Iterator[None]:
    """With no more than this on top of what there is; what wants more gets a MemoryError."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def told(value: Any) -> str | None:
    """What is said about a graph out of a file; None where it can be lowered, and then what is small runs."""
    start, said = time.monotonic(), None
    try:
        # Lowering what fills 4 GiB takes minutes: here as little as 16 MiB is too much.
        with little_memory(), np.errstate(all="ignore"), patch("lehr.runtime.lowering.lower.LARGEST", 2**18):
            found = graph_of(value)
            for patches, lanes in ((16, 16), (1, 16), (4, 16), (32, 32)):
                lowered = lower(found, TENSORS, Machine(patches, lanes, 2, 6))
                assert lowered.lines < 2**18
                if lowered.lines < 2**14 and available():
                    net = Net(found, TENSORS, threads=1, kernels="portable")
                    net(*(np.ones((lanes // patches, *shape), dtype=np.float32) for _, shape in found.inputs))
    except LehrError as error:
        said = str(error)
    assert time.monotonic() - start < 20
    assert said is None or ("\n" not in said and len(said) > 20)
    return said


NUMBERS = [
    -1,
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    16,
    100,
    10**6,
    2**20,
    2**31,
    2**40,
    2**63,
    10**30,
    0.5,
    -1e300,
    1e300,
    float("nan"),
]
WORDS = ["", "w", "b", "l", "x", "y", "a", "c", "t", "r", "relu", "gelu", "missing", "conv", "add", "mean", "é" * 99]
JUNK = st.sampled_from(
    [*NUMBERS, *WORDS, None, True, False, [], {}, [1], [0, 0], [2, 2], [10**6, 10**6], ["x"], {"x": 1}]
)


@st.composite
def lies(draw) -> Any:
    value = plain(draw(st.sampled_from([IMAGES, TOKENS])))
    for _ in range(draw(st.integers(1, 3))):
        places = leaves(value)
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        parent = value
        for key in path:
            parent = parent[key]
        if isinstance(parent[last], int) and not isinstance(parent[last], bool):
            parent[last] = draw(st.sampled_from([n for n in NUMBERS if isinstance(n, int)]))
            continue
        match draw(st.sampled_from(["change", "change", "remove", "copy"])):
            case "change":
                parent[last] = copy.deepcopy(draw(JUNK))  # what is drawn is shared
            case "remove":
                del parent[last]
            case "copy":
                parent[last] = copy.deepcopy(draw(st.sampled_from(list(flat(value)))))
    return value


def flat(value: Any) -> Iterator[Any]:
    yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from flat(child)


def survives(value: Any) -> None:
    with contextlib.suppress(LehrError):
        told(value)


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=150, suppress_health_check=SLOW)
@given(lies())
def test_a_graph_that_lies_is_one_sentence_or_a_result(value):
    survives(value)


@pytest.mark.long
@settings(max_examples=10_000, suppress_health_check=SLOW)
@given(lies())
def test_many_graphs_that_lie(value):
    survives(value)


@pytest.mark.parametrize("of", [IMAGES, TOKENS], ids=["images", "tokens"])
def test_the_truth_runs(of):
    if of is TOKENS:
        with pytest.raises(LehrError, match="attention with samples in lanes"):
            lower(of, TENSORS, Machine(1, 16, 2, 6))  # Net never asks for it
        assert lower(of, TENSORS, Machine(16, 16, 2, 6)).shapes == ((4,),)
    else:
        assert told(plain(of)) is None


POOLED = {"kernel": [2, 2], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}
IMAGE, TOKEN, FEATURE = {"x": (3, 8, 8)}, {"x": (5, 4)}, {"x": (4,)}
ATTEND = {"heads": 2, "scale": 1.0, "causal": False}
WRONG = {
    "a kernel of a million": (IMAGE, node("max_pool", "x", "z", **{**POOLED, "kernel": [10**6, 10**6]})),
    "padding of a million": (IMAGE, node("max_pool", "x", "z", **{**POOLED, "padding": [10**6, 10**6]})),
    "both": (IMAGE, node("max_pool", "x", "z", **{**POOLED, "kernel": [10**6] * 2, "padding": [10**6] * 2})),
    "a stride of 0": (IMAGE, node("max_pool", "x", "z", **{**POOLED, "stride": [0, 1]})),
    "a kernel of 0": (IMAGE, node("avg_pool", "x", "z", kernel=[0, 1], stride=[1, 1], padding=[0, 0])),
    "a dilation of 0": (IMAGE, node("max_pool", "x", "z", **{**POOLED, "dilation": [1, 0]})),
    "a convolution with a stride of 0": (IMAGE, conv("x", "z", stride=[0, 1])),
    "no groups": (IMAGE, conv("x", "z", groups=0)),
    "groups below 0": (IMAGE, conv("x", "z", groups=-1)),
    "groups that do not divide": (IMAGE, conv("x", "z", groups=2)),
    "a billion groups": (IMAGE, conv("x", "z", groups=10**9)),
    "a kernel larger than the image": ({"x": (3, 2, 8)}, conv("x", "z")),
    "a matrix as a kernel": (IMAGE, conv("x", "z", "l")),
    "a kernel as a matrix": (FEATURE, node("linear", "x", "z", weight="w")),
    "a tensor that is not there": (IMAGE, conv("x", "z", "missing")),
    "a bias of another length": (FEATURE, node("linear", "x", "z", weight="l", bias="b")),
    "features of another length": ({"x": (5,)}, node("linear", "x", "z", weight="l")),
    "a matrix over an image": ({"x": (4, 8, 8)}, node("linear", "x", "z", weight="l")),
    "a convolution over tokens": ({"x": (5, 3)}, conv("x", "z", "w")),
    "a norm of other channels": (IMAGE, node("batch_norm", "x", "z", **NORM)),
    "a layer-norm over an image": ({"x": (4, 8, 8)}, node("layer_norm", "x", "z", epsilon=1e-5)),
    "no such token": (TOKEN, node("token", "x", "z", index=5)),
    "a token below 0": (TOKEN, node("token", "x", "z", index=-1)),
    "a token of features": (FEATURE, node("token", "x", "z", index=0)),
    "channels that are not there": (TOKEN, node("slice", "x", "z", first=2, channels=3)),
    "channels below 0": (TOKEN, node("slice", "x", "z", first=-1, channels=2)),
    "no channels": (TOKEN, node("slice", "x", "z", first=0, channels=0)),
    "no heads": (TOKEN, node("attention", "x x x", "z", **{**ATTEND, "heads": 0})),
    "three heads over four channels": (TOKEN, node("attention", "x x x", "z", **{**ATTEND, "heads": 3})),
    "attention over an image": ({"x": (4, 2, 2)}, node("attention", "x x x", "z", **ATTEND)),
    "a constant of another shape": (TOKEN, node("add_constant", "x", "z", constant="b")),
    "tokens before features": (FEATURE, node("prepend", "x", "z", constant="token")),
    "tokens of other channels": ({"x": (5, 3)}, node("prepend", "x", "z", constant="token")),
    "other shapes added": ({"x": (4,), "y": (5,)}, node("add", "x y", "z")),
    "other shapes multiplied": ({"x": (4, 3, 3), "y": (4, 3, 1)}, node("multiply", "x y", "z")),
    "an input of four sizes": ({"x": (1, 1, 1, 1)}, node("mean", "x", "z")),
    "an input without sizes": ({"x": ()}, node("mean", "x", "z")),
    "an empty input": ({"x": (0, 4)}, node("mean", "x", "z")),
    "an input of a terabyte": ({"x": (2**19, 2**19)}, node("mean", "x", "z")),
    "an image of a terabyte": ({"x": (1, 2**19, 2**19)}, node("mean", "x", "z")),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_numbers_that_make_no_sense_are_one_sentence(what):
    shapes, wrong = WRONG[what]
    sentence = told(plain(graph(shapes, wrong)))
    assert sentence is not None
    assert "the file is damaged" in sentence or "pack the network again" in sentence


BROKEN = {
    "a residual of another size": graph(
        {"x": (3, 8, 8), "y": (4, 6, 6)}, conv("x", "a", padding=[1, 1]), node("add", "a y", "z")
    ),
    "a residual of one pixel": graph(
        {"x": (3, 8, 8), "y": (4, 1, 1)}, conv("x", "a", padding=[1, 1]), node("add", "a y", "z")
    ),
    "a value without a name": graph({"": (4,)}, node("mean", "", "z"), outputs=""),
    "a value named as scratch": graph({"z#scratch": (5, 4)}, node("attention", "z#scratch z#scratch z#scratch", "z", **ATTEND)),
    "a value named as a constant": graph(
        {"x": (4,), "z#constant": (5, 4)}, node("add_constant", "x", "z", constant="b"), outputs="z z#constant"
    ),
    "a value named as a move": graph(
        {"x": (3, 8, 8), "x@4x4x3x3": (3, 2, 2)}, conv("x", "z", stride=[3, 3], padding=[2, 2]), outputs="z x@4x4x3x3"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_does_not_fit_together_is_one_sentence(what):
    value = plain(BROKEN[what])
    if what == "a value without a name":
        value["outputs"] = [""]
        value["nodes"] = []
    assert told(value) is not None


def peak_of_lowering(of: Graph, samples: int) -> tuple[int, int]:
    """Bytes at most, and those of the arena."""
    tracemalloc.start()
    try:
        lowered = lower(of, TENSORS, Machine(16 // samples, 16, 1, 6))
        return tracemalloc.get_traced_memory()[1], lowered.lines * 64
    finally:
        tracemalloc.stop()


def test_lowering_takes_no_more_than_a_few_times_the_arena():
    wide = graph({"x": (1, 8, 8)}, node("max_pool", "x", "z", **{**POOLED, "padding": [150, 150]}))
    peak, arena = peak_of_lowering(wide, 16)
    assert peak < 6 * arena, f"{peak / 1e6:.0f} MB for an arena of {arena / 1e6:.0f} MB"


def test_tokens_before_too_many_others_are_refused_before_they_are_filled():
    long = graph({"x": (2**28, 4)}, node("prepend", "x", "z", constant="token"))
    with little_memory(1 << 30), pytest.raises(LehrError, match="more than 4 GiB"):
        lower(long, TENSORS, Machine(16, 16, 1, 6))
