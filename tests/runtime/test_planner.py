"""Choosing how the work is cut."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lehr.runtime import planner, plans
from lehr.runtime.graph import Graph, Node
from lehr.runtime.lowering.convolution import Tiling
from lehr.runtime.native import REASON, available
from lehr.runtime.net import Net
from lehr.runtime.plans import Choice, Plan
from lehr.runtime.tensors import Stored

pytestmark = pytest.mark.skipif(not available(), reason=REASON)


@pytest.fixture(autouse=True)
def _own_plans(monkeypatch, tmp_path):
    monkeypatch.setenv("LEHR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(planner, "SECONDS", 0.002)


def net(density: float) -> Net:
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(32, 32, 3, 3)) * (rng.random((32, 32, 3, 3)) < density)).astype(np.float32)
    told = {"weight": "w", "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}
    graph = Graph((("x", (32, 16, 16)),), ("y",), (Node("conv", ("x",), "y", told),))
    return Net(graph, {"w": Stored("w", "F32", weight.shape, weight.reshape(-1))}, threads=1)


def test_a_layer_with_few_weights_is_sparse_and_one_with_all_is_what_was_faster():
    (few,) = planner.plan(net(0.02), 1).choices
    (all_,) = planner.plan(net(1.0), 1).choices
    assert (few.tiling.group, few.other) == (0, None), "a dense kernel was not worth a try"
    assert all_.other >= all_.seconds
    assert all_.density == pytest.approx(1.0)


class Timed:
    """A program whose second operation takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def times(self, count: int) -> list[float]:
        return [0.01, self.seconds]


def test_the_fastest_of_what_was_tried_is_used(monkeypatch):
    one = net(0.3)
    times = {(4, 4, 1, 0): 3.0, (2, 8, 1, 0): 1.0, (1, 3, 1, 8): 2.0}
    group = [(Tiling(*cut), Timed(seconds), {"y": 1}) for cut, seconds in times.items()]
    monkeypatch.setattr(planner, "_groups", lambda *_: [group[:1], group[1:]])
    (choice,) = planner.plan(one, 1).choices
    assert (choice.tiling, choice.seconds, choice.other) == (Tiling(2, 8, 1), 1.0, 2.0)
    assert one.plans[False].tilings == {"y": Tiling(2, 8, 1)}


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("kernels", ["avx512", "avx2", "portable"])
@pytest.mark.parametrize("count", [1, 16])
def test_every_candidate_gives_the_same_numbers(kernels, count, dtype):
    from lehr.runtime.native import native

    if not native().has_kernels(kernels):
        pytest.skip(f"this processor has no {kernels}")
    plain = net(0.3)
    one = Net(plain.graph, plain.tensors, threads=2, kernels=kernels, dtype=dtype)
    images = np.random.default_rng(1).normal(size=(count, 32, 16, 16)).astype(np.float32)
    wanted = plain(images)
    bound = {"fp32": 2e-6, "bf16": 1e-2}[dtype] * np.abs(wanted).max()
    tried = planner.candidates(one.most)
    assert {bool(tiling.group) for tiling in tried} == ({False, True} if one.most >= 3 else {False})
    for patches in one.ways(count >= 16):
        for tiling in tried:
            one.use(count >= 16, Plan(patches, (Choice("y", tiling, 0.0, None, 0.3),)))
            assert np.abs(one(images) - wanted).max() <= bound, (patches, tiling)


def test_with_many_samples_the_fastest_number_of_patches_is_used(monkeypatch):
    one = net(0.3)
    monkeypatch.setattr(planner, "candidates", lambda most: [Tiling(2, 8, 1)])
    monkeypatch.setattr(planner, "_seconds", lambda net, plan, many, count: {16: 3.0, 4: 1.0, 1: 2.0}[plan.patches])
    assert planner.plan(one, 32).patches == 4
    assert one.plans[True].patches == 4
    assert one.plans[False].patches == 16, "a single image is not touched"


def test_programs_of_a_large_network_are_not_all_alive_at_once(monkeypatch):
    one = net(0.3)
    whole = planner._choices(one, 16, {})
    monkeypatch.setattr(planner, "BYTES", 1)
    step = [step for step in one.program(False)[1].steps if "density" in step.note]
    groups = list(planner._groups(one, 16, step, {}))
    assert [len(group) for group in groups] == [1] * len(planner.candidates(one.most))
    assert all(rows.keys() == {"y"} for ((_, _, rows),) in groups)
    assert [choice.name for choice in planner._choices(one, 16, {})] == [choice.name for choice in whole]


def test_a_plan_is_measured_once(monkeypatch):
    first = planner.plan(net(0.3), 1)
    monkeypatch.setattr(planner, "_measured", lambda *_: pytest.fail("it was measured again"))
    again = net(0.3)
    assert planner.plan(again, 1) == first
    assert again.plans[False] == first
    with pytest.raises(pytest.fail.Exception):
        planner.plan(net(0.5), 1)  # another density is another plan


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(patches=3), lambda told: told.update(alone="yes"), lambda told: told.pop("choices"),
        lambda told: told["choices"][0].update(name="z"), lambda told: told["choices"][0].update(extra=1),
        lambda told: told["choices"][0]["tiling"].update(height=3), lambda told: told["choices"][0].update(tiling=None),
        lambda told: told["choices"][0]["tiling"].update(width=10**9), lambda told: told["choices"].append({}),
    ],
)  # fmt: skip
def test_a_plan_that_was_tampered_with_is_measured_again(change, monkeypatch):
    planner.plan(net(0.3), 1)
    (path,) = plans.folder().iterdir()
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    calls = []
    measured = planner._measured
    monkeypatch.setattr(planner, "_measured", lambda *given: calls.append(given) or measured(*given))
    found = planner.plan(net(0.3), 1)
    assert len(calls) == 1
    assert plans.recall(path.stem, frozenset({"y"}), (16,)) == found


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_a_plan_that_is_no_plan_is_measured_again(content):
    planner.plan(net(0.3), 1)
    (path,) = plans.folder().iterdir()
    path.write_bytes(content)
    assert planner.plan(net(0.3), 1).choices
    assert len(list(plans.folder().iterdir())) == 1, "nothing is left beside it"


def test_where_nothing_can_be_kept_nothing_is_lost(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LEHR_CACHE", str(tmp_path / "file"))
    assert planner.plan(net(0.3), 1).choices
