"""Methods that are sparse from the first step: against brute force, in the user's loop, with several passes a step."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lehr
from lehr import LehrError
from lehr.masks import Mask

SHAPES = {"a": (7, 9), "b": (5, 4)}


def tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def mask(seed: int, density: float = 0.4) -> Mask:
    return Mask(
        {name: t < t.flatten().kthvalue(max(1, int(density * t.numel()))).values for name, t in tensors(seed).items()}
    )


def by_hand(weights, inside, wanted, share):
    """Which weights stay, and which come."""
    weights, inside, wanted = (t.flatten().tolist() for t in (weights, inside, wanted))
    kept = [i for i, here in enumerate(inside) if here]
    change = min(math.floor(share * len(kept)), len(inside) - len(kept))
    stay = sorted(kept, key=lambda i: abs(weights[i]))[change:]
    come = sorted((i for i in range(len(inside)) if i not in stay), key=lambda i: -wanted[i])[:change]
    return set(stay) | set(come)


@given(st.integers(0, 50), st.integers(1, 9), st.floats(0.05, 0.95), st.floats(0.1, 0.9))
def test_rigl_drops_the_smallest_and_grows_the_largest_gradients(seed, t, drop, density):
    first, weights, gradients = mask(seed, density), tensors(seed + 1), tensors(seed + 2)
    method = lehr.RigL(first, steps=10, drop=drop, reselect_every=1)
    method.retarget(t, weights, gradients)
    share = drop * (1 + math.cos(math.pi * t / 10)) / 2
    for name in SHAPES:
        wanted = by_hand(weights[name], first[name], gradients[name].abs(), share)
        assert set(np.flatnonzero(method.target[name].flatten()).tolist()) == wanted
        assert int(method.target[name].sum()) == int(first[name].sum()), "every layer keeps its number"


def test_set_grows_at_random_by_seed_and_step_alone():
    first, weights = mask(0), tensors(1)

    def grown(seed: int, t: int) -> Mask:
        method = lehr.SparseEvolution(first, steps=10, drop=0.5, reselect_every=1, seed=seed)
        method.retarget(t, weights)
        return method.target

    assert grown(0, 1) == grown(0, 1)
    assert grown(0, 1) != grown(1, 1)
    change = math.floor(0.5 * (1 + math.cos(0.1 * math.pi)) / 2 * int(first["a"].sum()))
    smallest = first["a"] & (weights["a"].abs() <= weights["a"].abs()[first["a"]].sort().values[change - 1])
    counts = torch.zeros(SHAPES["a"])
    for seed in range(300):
        counts += grown(seed, 1)["a"]
    assert (counts[first["a"] & ~smallest] == 300).all(), "the largest always stay"
    rest = counts[~(first["a"] & ~smallest)] / 300
    assert rest.min() > 0.1, "anyone may come"
    assert rest.max() < 0.5


def test_growth_stays_within():
    within = mask(3, 0.6)
    first = mask(3, 0.3)
    assert (first - within).kept == 0
    for make in (lehr.SparseEvolution, lehr.RigL):
        method = make(first, steps=10, drop=0.9, reselect_every=1, within=within)
        method.retarget(1, tensors(4), tensors(5))
        assert method.target != first
        assert (method.target - within).kept == 0
        assert method.target.kept == first.kept


def test_when_the_target_changes():
    method = lehr.RigL(mask(0), steps=300)
    assert [t for t in range(400) if method.due(t)] == list(range(15, 300, 15)), "a twentieth of a short phase"
    assert [t for t in range(400) if method.wants_gradients(t)] == list(range(14, 299, 15))
    long = lehr.SparseEvolution(mask(0), steps=5000)
    assert long.reselect_every == 100
    assert not any(long.wants_gradients(t) for t in range(5000))


def loop(method, optimizer, model, steps, accumulate=1, check=lambda step, run: None):
    generator = torch.Generator().manual_seed(0)
    with lehr.attach(model, optimizer, method) as run:
        for step in range(steps):
            optimizer.zero_grad()
            for _ in range(accumulate):
                x = torch.randn(8, 9, generator=generator)
                (model(x) - x[:, :7]).square().mean().div(accumulate).backward()
            check(step, run)
            optimizer.step()


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_gradients_are_dense_of_all_passes_and_only_where_they_are_wanted(accumulate, monkeypatch):
    model = nn.Linear(9, 7)
    method = lehr.RigL(lehr.select(model, 0.8), steps=9, drop=0.5, reselect_every=4)
    seen: list[tuple[int, torch.Tensor]] = []
    whole = lehr.RigL.retarget

    def retarget(self, t, weights, gradients):
        seen.append((t, gradients["weight"].clone()))
        whole(self, t, weights, gradients)

    monkeypatch.setattr(lehr.RigL, "retarget", retarget)
    wanted = {}
    generator = torch.Generator().manual_seed(0)

    def check(step, run):
        inputs = [torch.randn(8, 9, generator=generator) for _ in range(accumulate)]
        copy = nn.Linear(9, 7)
        copy.load_state_dict(model.state_dict())
        torch.stack([(copy(x) - x[:, :7]).square().mean() for x in inputs]).mean().backward()
        wanted[step] = copy.weight.grad
        assert (run.slots[0].collected is None) == (step not in (3, 7)), "no dense gradient is kept at other steps"
        assert not model.weight.grad[~run.target["weight"]].any(), "the optimizer sees none of it"

    loop(method, torch.optim.SGD(model.parameters(), lr=0.1), model, 10, accumulate, check)
    assert [t for t, _ in seen] == [4, 8]
    for t, gradient in seen:
        assert torch.allclose(gradient, wanted[t - 1], atol=1e-6)


@pytest.mark.parametrize("name", ["set", "rigl", "ac-dc"])
@pytest.mark.parametrize("inactive", ["hold", "move"])
def test_new_weights_begin_at_zero_with_fresh_state(name, inactive):
    model = nn.Linear(9, 7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    first = lehr.select(model, 0.6, scope="layer")
    make = {
        "set": lambda: lehr.SparseEvolution(first, steps=12, drop=0.5, reselect_every=2),
        "rigl": lambda: lehr.RigL(first, steps=12, drop=0.5, reselect_every=2),
        "ac-dc": lambda: lehr.AlternatingCompression(first, steps=12, cycles=2),
    }[name]
    changes = 0
    with lehr.attach(model, optimizer, make(), inactive=inactive) as run:
        before = run.target
        for step in range(14):
            old = model.weight.detach().clone()
            x = torch.randn(8, 9)
            optimizer.zero_grad()
            (model(x) - x[:, :7]).square().mean().backward()
            optimizer.step()
            momentum = optimizer.state[model.weight]["momentum_buffer"]
            outside = ~run.target["weight"]
            assert (model.weight[outside] == 0).all()
            assert (momentum[outside] == 0).all()
            come = run.target["weight"] & ~before["weight"]
            changes += int(come.sum())
            assert step == 0 or (old[come] == 0).all()
            assert (model.weight[come] == 0).all()
            assert (momentum[come] == 0).all()
            before = run.target
    assert changes > 0
    assert (model.weight != 0).sum() <= first.kept


def test_ac_dc_takes_turns():
    first = mask(0, 0.25)
    method = lehr.AlternatingCompression(first, steps=50, cycles=3)
    assert [t for t in range(60) if method.due(t)] == [0, 10, 20, 30, 40, 50]
    weights = tensors(7)
    densities = []
    for t in (0, 10, 20, 30, 40, 50):
        method.retarget(t, weights)
        densities.append(method.target.kept)
    assert densities == [83, first.kept, 83, first.kept, 83, first.kept]
    flat = torch.cat([w.abs().flatten() for w in weights.values()])
    threshold = flat.sort(descending=True).values[first.kept - 1]
    assert all(torch.equal(method.target[name], weights[name].abs() >= threshold) for name in SHAPES)


def test_ac_dc_within_a_former_mask_is_as_dense_as_that():
    within, first = mask(3, 0.6), mask(3, 0.2)
    method = lehr.AlternatingCompression(first, steps=9, cycles=2, within=within)
    method.retarget(0, tensors(1))
    assert method.target == within
    method.retarget(9, tensors(1))
    assert method.target.kept == first.kept
    assert (method.target - within).kept == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: lehr.SparseEvolution(m, steps=10, drop=0.0), "drop is 0, and nothing would ever change: use one-shot"),
        (lambda m: lehr.RigL(m, steps=10, drop=1.5), "drop is 1.5: give a fraction"),
        (lambda m: lehr.RigL(m, steps=10, reselect_every=0), "reselect_every is 0"),
        (lambda m: lehr.AlternatingCompression(m, steps=4, cycles=3), "3 cycles need 5 steps of annealing and there are 4"),
        (lambda m: lehr.AlternatingCompression(m, steps=4, cycles=0), "cycles is 0: give a whole number from 1"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_sentence(make, message):
    with pytest.raises(LehrError, match=message):
        make(mask(0))


def test_single_weights_are_moved_and_granules_are_not():
    model = nn.Linear(9, 8)
    with pytest.raises(LehrError, match=r"rigl moves single weights and the mask is of filter: use ac-dc"):
        lehr.RigL(lehr.select(model, 0.5, granularity="filter"), steps=10)


@pytest.mark.parametrize("inside", [True, False])
def test_a_state_may_be_loaded_before_the_block_or_in_it(inside):
    """Cutting by the first target would take out weights that have come since."""

    def begun() -> tuple[nn.Linear, torch.optim.SGD, lehr.RigL]:
        torch.manual_seed(0)
        model = nn.Linear(9, 7)
        method = lehr.RigL(lehr.select(model, 0.6, scope="layer"), steps=12, drop=0.5, reselect_every=2)
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), method

    def train(model, optimizer, steps):
        for step in steps:
            x = torch.randn(8, 9, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            (model(x) - x[:, :7]).square().mean().backward()
            optimizer.step()

    model, optimizer, method = begun()
    with lehr.attach(model, optimizer, method) as run:
        train(model, optimizer, range(7))
        saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), run.state_dict()))
        train(model, optimizer, range(7, 12))
    whole = model.weight.detach().clone()
    model, optimizer, method = begun()
    if not inside:
        model.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
    with lehr.attach(model, optimizer, method) as run:
        if inside:
            model.load_state_dict(saved[0])
            optimizer.load_state_dict(saved[1])
        run.load_state_dict(saved[2])
        train(model, optimizer, range(7, 12))
    assert torch.equal(model.weight, whole)


def test_gradients_of_a_step_that_was_skipped_are_not_gone_by():
    torch.manual_seed(0)
    net = nn.Linear(8, 8)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    method = lehr.RigL(lehr.select(net, 0.5), steps=10, drop=0.5, reselect_every=1)
    with lehr.attach(net, optimizer, method) as run:
        net(torch.full((2, 8), math.nan)).sum().backward()  # which a GradScaler would skip
        optimizer.zero_grad()
        for _ in range(10):
            net(torch.randn(4, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            assert run.target.kept == 32


def test_what_is_not_a_number_is_told():
    first = mask(0)
    broken = tensors(1) | {"a": torch.full(SHAPES["a"], math.nan)}
    with pytest.raises(LehrError, match="a has NaN weights"):
        lehr.SparseEvolution(first, steps=10, drop=0.5, reselect_every=1).retarget(1, broken)
    with pytest.raises(LehrError, match="the gradient of a is NaN"):
        lehr.RigL(first, steps=10, drop=0.5, reselect_every=1).retarget(1, tensors(1), broken)
