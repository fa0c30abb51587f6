"""Choosing how the work is cut."""

from __future__ import annotations

import numpy as np
import pytest

from lehr.runtime import planner
from lehr.runtime.convolution import Tiling
from lehr.runtime.graph import Graph, Node
from lehr.runtime.native import REASON, available
from lehr.runtime.net import Net
from lehr.runtime.tensors import Stored

pytestmark = pytest.mark.skipif(not available(), reason=REASON)


def net(density: float) -> Net:
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(32, 32, 3, 3)) * (rng.random((32, 32, 3, 3)) < density)).astype(np.float32)
    told = {"weight": "w", "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}
    graph = Graph((("x", (32, 16, 16)),), ("y",), (Node("conv", ("x",), "y", told),))
    return Net(graph, {"w": Stored("w", "F32", weight.shape, weight.reshape(-1))}, threads=1)


def test_a_layer_with_few_weights_is_sparse_and_one_with_all_is_dense():
    (few,) = planner.plan(net(0.02), 1)
    (all_,) = planner.plan(net(1.0), 1)
    assert (few.tiling.group, few.other) == (0, None), "a dense kernel was not worth a try"
    assert all_.tiling.group > 0
    assert all_.other > all_.seconds
    assert all_.density == pytest.approx(1.0)


def test_the_fastest_of_what_was_tried_is_used(monkeypatch):
    one = net(0.3)
    times = {(4, 4, 1, 0): 3.0, (2, 8, 1, 0): 1.0, (1, 3, 1, 8): 2.0}
    monkeypatch.setattr(planner, "candidates", lambda most: [Tiling(h, w, p, g) for h, w, p, g in times])
    order = iter(times.values())
    monkeypatch.setattr(planner, "_by_layer", lambda lowered, seconds: {"y": next(order)})
    (choice,) = planner.plan(one, 1)
    assert (choice.tiling, choice.seconds, choice.other) == (Tiling(2, 8, 1), 1.0, 2.0)
    assert one.tilings[1] == {"y": Tiling(2, 8, 1)}


@pytest.mark.parametrize("kernels", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize("samples", [1, 16])
def test_every_candidate_gives_the_same_numbers(kernels, samples):
    from lehr.runtime.native import native

    if not native().has_kernels(kernels):
        pytest.skip(f"this processor has no {kernels}")
    plain = net(0.3)
    one = Net(plain.graph, plain.tensors, threads=2, kernels=kernels)
    images = np.random.default_rng(1).normal(size=(samples, 32, 16, 16)).astype(np.float32)
    wanted = plain(images)
    for tiling in planner.candidates(one.most):
        one.use(samples, {"y": tiling})
        assert np.abs(one(images) - wanted).max() <= 2e-6 * np.abs(wanted).max(), tiling
