"""The compiled draw is the reference, to the bit."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lehr
from lehr.base.draws import Purpose, Stream
from lehr.masks.granules import Granules
from lehr.runtime.native import REASON, available
from lehr.sparsify import sample as module
from lehr.sparsify.chance import Chance
from lehr.sparsify.sample import Sample
from lehr.sparsify.shard import Shard
from lehr.sparsify.slot import Slot

needs_engine = pytest.mark.skipif(not available(), reason=REASON)


def drawn(sample: Sample, shard: Shard, target: torch.Tensor, values: torch.Tensor):
    """In place, shadow and factor after the compiled draw."""
    values, shadow, factor = values.clone(), torch.full_like(values, 7.0), torch.full_like(values, 7.0)
    done = np.zeros(1, dtype=np.uint8)
    assert sample.draw(shard, target, values, shadow, factor, done)
    assert done[0] == 1
    return values, shadow, factor


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(torch.equal(a.view(torch.int32), b.view(torch.int32)))


@needs_engine
@given(
    st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(0, 100), st.integers(1, 3000),
    st.one_of(st.floats(0, 1), st.just("each")), st.integers(1, 3),
)  # fmt: skip
def test_it_is_the_reference_to_the_bit(seed, start, step, count, rest, threads):
    generator = torch.Generator().manual_seed(step)
    target = torch.rand(count, generator=generator) < 0.3
    values = torch.randn(count, generator=generator)
    special = torch.tensor([float("nan"), float("inf"), -0.0, 1e-42])
    values[: min(count, 4)] = special[: min(count, 4)]
    chance = Chance(torch.rand(count, generator=generator), 0.5) if rest == "each" else Chance(1.0, rest)
    shard = Shard("w", start, count, (count,))
    sample = Sample(Stream(seed, "w", Purpose.MASK, step, turn=1, rank=3), chance)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, shadow, factor = drawn(sample, shard, target, values)
    finally:
        torch.set_num_threads(before)
    wanted = sample.chosen(shard, target).float()
    assert same(factor, wanted)
    assert same(shadow, values), "what was there, to the bit"
    assert same(found.nan_to_num(2.0), (values * wanted).nan_to_num(2.0)), "minus zero where a negative weight is out"


@needs_engine
def test_many_weights_on_several_threads():
    count = 300_001
    target, values = torch.rand(count) < 0.1, torch.randn(count)
    shard, sample = Shard("w", 5, count, (count,)), Sample(Stream(1, "w", Purpose.MASK, 9), Chance(1.0, 0.4))
    found, _, factor = drawn(sample, shard, target, values)
    wanted = sample.chosen(shard, target).float()
    assert same(factor, wanted)
    assert same(found, values * wanted)


@needs_engine
def test_what_it_cannot_do_is_left_alone():
    target, values = torch.ones(6, dtype=torch.bool), torch.randn(6)
    sample = Sample(Stream(1, "w", Purpose.MASK), Chance(1.0, 0.0))
    done = np.zeros(1, dtype=np.uint8)
    filters = Shard("w", 0, 6, (2, 3), Granules("w", (2, 3), (0,)))
    assert not sample.draw(filters, target.reshape(2, 3), *(values.reshape(2, 3).clone() for _ in range(3)), done)
    plain = Shard("w", 0, 6, (6,))
    assert not sample.draw(plain, target, *(values.double() for _ in range(3)), done)
    wide = torch.randn(12)[::2]
    before = wide.clone()
    assert not sample.draw(plain, target, wide, wide.clone(), wide.clone(), done)
    assert same(wide, before)
    assert done[0] == 0


def test_without_the_compiled_part_nothing_changes(monkeypatch):
    """A whole annealed training is the same to the bit."""

    def trained() -> torch.Tensor:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        images, labels = torch.randn(64, 20), torch.randint(0, 4, (64,))
        method = lehr.TemperatureAnnealing(lehr.select(net, 0.8), tau=0.5, steps=20)
        with lehr.attach(net, optimizer, method):
            for _ in range(30):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(images), labels).backward()
                optimizer.step()
        return torch.cat([p.detach().reshape(-1) for p in net.parameters()])

    fast = trained()
    monkeypatch.setattr(module, "available", lambda: False)
    assert same(fast, trained())


@needs_engine
def test_autograd_notices_a_draw():
    layer = nn.Linear(8, 8)
    before = layer.weight._version
    sample = Sample(Stream(1, "w", Purpose.MASK), Chance(1.0, 0.5))
    local = layer.weight.detach()
    sample.draw(
        Shard("w", 0, 64, (8, 8)), torch.zeros(8, 8, dtype=torch.bool), local, torch.empty(8, 8), torch.empty(8, 8),
        np.zeros(1, dtype=np.uint8),
    )  # fmt: skip
    assert layer.weight._version > before


def test_an_interruption_while_the_target_is_in_place_loses_nothing(monkeypatch):
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    weights = [layer.weight.detach().clone() for layer in net]
    method = lehr.TemperatureAnnealing(lehr.select(net, 0.5), tau=0.5, steps=1000)
    swap, calls = Slot.swap, []

    def interrupted(slot, values, *, seen):
        calls.append(slot)
        if len(calls) == at:
            raise KeyboardInterrupt
        swap(slot, values, seen=seen)

    monkeypatch.setattr(Slot, "swap", interrupted)
    with pytest.warns(UserWarning, match="stopped at step 0"), lehr.attach(net, optimizer, method) as annealing:
        for at in range(1, 5):  # two layers there, and back
            for after in (annealing.rest, lambda: net(torch.zeros(1, 8))):
                calls.clear()
                with torch.no_grad(), pytest.raises(KeyboardInterrupt):
                    net(torch.zeros(1, 8))
                after()
                annealing.rest()
                assert all(same(layer.weight.detach(), own) for layer, own in zip(net, weights, strict=True)), at


def test_an_interruption_does_not_leave_gradients_off(monkeypatch):
    net = nn.Linear(8, 8)
    method = lehr.TemperatureAnnealing(lehr.select(net, 0.5), tau=0.5, steps=1000)

    def enter(_: object) -> None:
        torch.set_grad_enabled(False)  # all that `no_grad` has done when it is interrupted
        raise KeyboardInterrupt

    with (
        pytest.warns(UserWarning, match="stopped"),
        lehr.attach(net, torch.optim.SGD(net.parameters(), lr=0.1), method),
    ):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(torch.no_grad, "__enter__", enter)
            net(torch.zeros(1, 8))
        assert torch.is_grad_enabled()


@needs_engine
def test_an_interruption_during_a_draw_loses_nothing():
    net = nn.Sequential(nn.Linear(1500, 1500))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    method = lehr.TemperatureAnnealing(lehr.select(net, 0.5), tau=0.5, steps=1000)
    weights = net[0].weight.detach().clone()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        with pytest.warns(UserWarning, match="stopped at step 0"), lehr.attach(net, optimizer, method) as annealing:
            for delay in np.linspace(2e-5, 4e-3, 60):
                try:
                    signal.setitimer(signal.ITIMER_REAL, delay)
                    net(torch.zeros(1, 1500))
                    time.sleep(0.005)
                except KeyboardInterrupt:
                    interrupted += 1
                signal.setitimer(signal.ITIMER_REAL, 0)
                annealing.rest()
                assert same(net[0].weight.detach(), weights)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert interrupted > 30
