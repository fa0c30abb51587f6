"""Members together: beside each other or in turn, to the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lehr import LehrError
from lehr.runtime.file import Contents, pack
from lehr.runtime.native import available, native
from lehr.runtime.net import MANY, Net
from lehr.runtime.nets import Nets, load_nets, mean_probabilities
from tests.runtime.nets import NO_ENGINE, conv, graph, node, stored

pytestmark = pytest.mark.skipif(not available(), reason=NO_ENGINE)
SHAPE = (3, 6, 6)
NETWORK = graph({"x": SHAPE}, conv("x", "c", padding=[1, 1]), node("mean", "c", "out"))


def member(seed: int, threads: int, dtype: str = "fp32") -> Net:
    weights = np.random.default_rng(seed).standard_normal((5, 3, 3, 3))
    weights[np.abs(weights) < 1.0] = 0.0
    return Net(NETWORK, stored(w=weights), threads=threads, dtype=dtype)


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(0, MANY + 3),
    members=st.integers(1, 5),
    threads=st.integers(1, 4),
    dtype=st.sampled_from(["fp32", "bf16"]),
)
def test_members_together_are_the_members_to_the_bit(count, members, threads, dtype):
    nets = [member(seed, threads, dtype) for seed in range(members)]
    x = np.random.default_rng(count).standard_normal((count, *SHAPE)).astype(np.float32)
    found = Nets(nets).members(x)
    assert found.shape == (members, count, 5)
    for net, own in zip(nets, found, strict=True):
        assert np.array_equal(net(x), own)


@pytest.mark.parametrize(
    ("members", "threads", "beside"), [(1, 2, False), (2, 2, True), (3, 2, True), (2, 3, False), (3, 1, False)]
)
def test_members_run_beside_each_other_where_there_is_one_for_every_thread(members, threads, beside, monkeypatch):
    nets = Nets([member(seed, threads) for seed in range(members)])
    few, many = np.zeros((1, *SHAPE), dtype=np.float32), np.zeros((MANY, *SHAPE), dtype=np.float32)
    runs = []
    own = Net.__call__
    monkeypatch.setattr(Net, "__call__", lambda net, *inputs: runs.append(net.threads) or own(net, *inputs))
    nets.members(few)
    assert runs == ([] if beside else [threads] * members)
    runs.clear()
    nets.members(many)
    assert runs == [threads] * members


def test_inputs_are_looked_at_before_members_run():
    nets = Nets([member(seed, 2) for seed in range(2)])
    with pytest.raises(LehrError, match=r"x has shape \(1, 3, 6, 5\) and the network takes \(batch, 3, 6, 6\)"):
        nets.members(np.zeros((1, 3, 6, 5), dtype=np.float32))
    with pytest.raises(LehrError, match="takes 1 inputs"):
        nets.members()


def test_calls_from_several_threads_are_the_same_bits():
    from concurrent.futures import ThreadPoolExecutor

    nets = Nets([member(seed, 2) for seed in range(3)])
    xs = [np.random.default_rng(i).standard_normal((1 + i % 3, *SHAPE)).astype(np.float32) for i in range(40)]
    wanted = [nets.members(x) for x in xs]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(wanted, pool.map(nets.members, xs), strict=True):
            assert np.array_equal(one, other)


def programs(threads: int, count: int = 2):
    return [member(seed, threads).program(False)[0] for seed in range(count)]


def arrays(count: int, *shape: int):
    return [np.zeros((count, *shape), dtype=np.float32)]


@pytest.mark.parametrize(
    "given",
    [
        (lambda: (programs(2), arrays(1, *SHAPE), [arrays(1, 5)] * 2, 2)),  # a program of several threads
        (lambda: (programs(1), arrays(1, *SHAPE), [arrays(1, 5)], 2)),  # outputs of one are missing
        (lambda: (programs(1), arrays(1, *SHAPE), [arrays(1, 5), arrays(2, 5)], 2)),  # of another number of samples
        (lambda: (programs(1), arrays(1, *SHAPE), [arrays(1, 5), arrays(1, 4)], 2)),  # of another size
        (lambda: (programs(1), arrays(1, 3, 6, 5), [arrays(1, 5)] * 2, 2)),
        (lambda: (programs(1), arrays(1, *SHAPE), [arrays(1, 5)] * 2, 0)),
        (lambda: (programs(1), arrays(1, *SHAPE), [arrays(1, 5)] * 2, 5000)),
    ],
)  # fmt: skip
def test_the_native_part_refuses_what_does_not_fit(given):
    with pytest.raises(ValueError):
        native().run_beside(*given())


def test_nothing_is_no_program():
    with pytest.raises((TypeError, ValueError)):
        native().run_beside([None], arrays(1, *SHAPE), [arrays(1, 5)], 1)


def test_a_probability_too_small_for_a_float_is_no_infinite_loss():
    members = np.array([[[0.0, -200.0]], [[-1.0, -300.0]]], dtype=np.float32)
    own = members.astype(np.float64)
    wanted = np.log(np.exp(own - np.log(np.exp(own).sum(-1, keepdims=True))).mean(0))
    found = mean_probabilities(members)
    assert np.isfinite(found).all()
    assert np.allclose(found, wanted)


def test_a_file_whose_members_have_several_outputs_is_refused(tmp_path):
    two = graph({"x": (2, 3, 3)}, node("mean", "x", "a"), node("flatten", "x", "b"), outputs="a b")
    path = tmp_path / "two.lehr"
    tensors = {
        f"{i}/{name}": replace(one, name=f"{i}/{name}") for i in range(2) for name, one in stored(w=[1.0]).items()
    }
    path.write_bytes(pack(Contents({"members": 2}, tensors, two.plain())).content)
    with pytest.raises(LehrError, match="its members have 2 outputs, and answers of one are put together"):
        load_nets(path)
