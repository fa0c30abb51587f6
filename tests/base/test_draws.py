"""The statistics of the draw: rates, and independence across steps, turns, weights and names."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lehr.base.draws import Purpose, Stream

N = 200_000
STREAM = Stream(seed=11, name="w", purpose=Purpose.MASK, step=3)


def z(hits: int, n: int, p: float) -> float:
    """Standard deviations away from the expected count."""
    return (hits - n * p) / math.sqrt(n * p * (1 - p))


@pytest.mark.parametrize("p", [1 / 65536, 0.0005, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_rates(p):
    level = int(p * 65536 + 0.5) / 65536
    assert abs(z(int(STREAM.bernoulli(0, p, 4 * N).sum()), 4 * N, level)) < 4.5


def test_late_probabilities_are_not_rounded_away():
    assert 0 < int(STREAM.bernoulli(0, 1e-4, N).sum()) < 60
    assert int(STREAM.bernoulli(0, 0.0, N).sum()) == 0
    assert int(STREAM.bernoulli(0, 1.0, N).sum()) == N


def test_a_tensor_of_probabilities_draws_what_single_ones_do():
    p = torch.tensor([0.2, 0.7]).repeat(500)
    mixed = STREAM.bernoulli(0, p)
    assert torch.equal(mixed[::2], STREAM.bernoulli(0, 0.2, 1000)[::2])
    assert torch.equal(mixed[1::2], STREAM.bernoulli(0, 0.7, 1000)[1::2])
    extremes = STREAM.bernoulli(0, torch.tensor([0.0, 1.0]).repeat(N // 2))
    assert not extremes[::2].any()
    assert extremes[1::2].all()


@pytest.mark.parametrize(
    "other",
    [
        replace(STREAM, step=4),
        replace(STREAM, step=3, turn=1),
        Stream(12, "w", Purpose.MASK, 3),
        Stream(11, "v", Purpose.MASK, 3),
        Stream(11, "w", Purpose.INITIAL, 3),
        Stream(11, "w", Purpose.MASK, 3, rank=1),
    ],
    ids=["step", "turn", "seed", "name", "purpose", "rank"],
)
def test_streams_are_independent(other):
    a, b = STREAM.bernoulli(0, 0.3, N), other.bernoulli(0, 0.3, N)
    assert abs(z(int((a & b).sum()), N, 0.09)) < 4.5
    assert abs(np.corrcoef(STREAM.bits(0, N), other.bits(0, N))[0, 1]) < 4.5 / math.sqrt(N)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 15, 16, 17, 256])
def test_weights_are_independent(lag):
    a = STREAM.bernoulli(0, 0.3, N)
    assert abs(z(int((a[lag:] & a[:-lag]).sum()), N - lag, 0.09)) < 4.5


def test_bits_are_uniform():
    counts = np.bincount(STREAM.bits(0, 16 * N) >> 8, minlength=256)
    expected = 16 * N / 256
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi2 - 255) < 4.5 * math.sqrt(2 * 255)


def test_uniform_numbers_lie_strictly_inside():
    u = STREAM.uniform(0, N)
    assert 0 < float(u.min()) < float(u.max()) < 1
    assert abs(float(u.mean()) - 0.5) < 4.5 / math.sqrt(12 * N)
