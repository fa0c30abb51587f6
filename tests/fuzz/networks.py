"""Small networks that have every operation, as plain graphs, and one set of weights for all."""

from __future__ import annotations

from typing import Any

import numpy as np

from lehr.runtime.graph import OPERATIONS
from lehr.runtime.tensors import Stored

RNG = np.random.default_rng(0)


def _stored(name: str, *shape: int, density: float = 1.0) -> Stored:
    values = RNG.normal(size=shape).astype(np.float32)
    if density == 1.0:
        return Stored(name, "F32", shape, values.reshape(-1))
    places = np.flatnonzero(RNG.random(values.size) < density).astype(np.int64)
    return Stored(name, "F32", shape, values.reshape(-1)[places], places)


TENSORS = {
    stored.name: stored
    for stored in (
        _stored("w1", 8, 3, 3, 3, density=0.3), _stored("w2", 8, 8, 3, 3, density=0.1), _stored("w3", 8, 2, 1, 1), _stored("b", 8),
        _stored("n", 8), _stored("head", 20, 8, density=0.3), _stored("pos", 8, 3, 3), _stored("cls", 1, 1, 8),
        _stored("qkv", 24, 8, density=0.4), _stored("out", 8, 8), _stored("flat", 30, 72, density=0.2),
        _stored("up", 20, 30, density=0.2), _stored("gate", 8, 8, 1, 1),
    )
}  # fmt: skip


def _conv(source: str, output: str, weight: str, stride: int = 1, padding: int = 1, groups: int = 1) -> list[Any]:
    told = {"weight": weight, "stride": [stride] * 2, "padding": [padding] * 2, "dilation": [1, 1], "groups": groups}
    return ["conv", [source], output, told]


NORM = {"weight": "n", "bias": "b", "mean": "b", "variance": "n", "epsilon": 1.0}
GRAPHS: list[dict[str, Any]] = [
    {
        "inputs": [["x", [3, 12, 12]]],
        "outputs": ["y", "t"],
        "nodes": [
            _conv("x", "a", "w1"), ["batch_norm", ["a"], "a1", NORM], ["activation", ["a1"], "b", {"kind": "relu"}],
            _conv("b", "c", "w2"), ["add", ["c", "b"], "d", {}], _conv("d", "d1", "w3", padding=0, groups=4),
            ["max_pool", ["d1"], "e", {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "dilation": [1, 1]}],
            ["avg_pool", ["e"], "f", {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0]}],
            ["add_constant", ["f"], "g", {"constant": "pos"}], ["batch_norm", ["g"], "g1", NORM],
            ["mean", ["g1"], "h", {}], _conv("h", "i", "gate", padding=0), ["multiply", ["g1", "i"], "j", {}],
            ["mean", ["j"], "k", {}], ["linear", ["k"], "y", {"weight": "head"}],
            ["flatten", ["j"], "l", {}], ["linear", ["l"], "m", {"weight": "flat"}],
            ["activation", ["m"], "n", {"kind": "gelu"}], ["linear", ["n"], "t", {"weight": "up"}],
        ],
    },
    {
        "inputs": [["x", [8, 6, 6]]],
        "outputs": ["y", "z"],
        "nodes": [
            ["tokens", ["x"], "a", {}], ["prepend", ["a"], "b", {"constant": "cls"}],
            ["layer_norm", ["b"], "c", {"weight": "n", "bias": "b", "epsilon": 1e-5}],
            ["linear", ["c"], "d", {"weight": "qkv"}],
            *[["slice", ["d"], name, {"first": 8 * i, "channels": 8}] for i, name in enumerate("qkv")],
            ["attention", ["q", "k", "v"], "e", {"heads": 2, "scale": 0.3, "causal": False}],
            ["linear", ["e"], "f", {"weight": "out", "bias": "b"}], ["add", ["f", "b"], "g", {}],
            ["token", ["g"], "h", {"index": 0}], ["linear", ["h"], "y", {"weight": "head"}], ["softmax", ["g"], "z", {}],
        ],
    },
]  # fmt: skip
USED = {node[0] for graph in GRAPHS for node in graph["nodes"]}
assert set(OPERATIONS) == USED, set(OPERATIONS) ^ USED
