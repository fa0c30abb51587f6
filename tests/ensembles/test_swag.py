"""SWAG's draws have the mean and the covariance that they should."""

from __future__ import annotations

import pytest
import torch

from lehr import LehrError
from lehr.ensembles.swag import swag


def test_mean_and_covariance_of_many_draws_also_of_two_tensors():
    generator = torch.Generator().manual_seed(0)
    snapshots = [torch.randn(3, generator=generator) for _ in range(5)]
    states = [{"w": one[:2], "v": one[2:], "n": torch.tensor(7)} for one in snapshots]
    drawn = torch.stack([torch.cat([one["w"], one["v"]]) for one in swag(states, 20_000, seed=1)]).double()
    stacked = torch.stack(snapshots).double()
    running = stacked.cumsum(0) / torch.arange(1, 6).reshape(-1, 1)
    d = stacked - running
    wanted = (stacked.square().mean(0) - stacked.mean(0) ** 2).diag() / 2 + d.T @ d / 8
    assert torch.allclose(drawn.mean(0), stacked.mean(0), atol=0.03)
    assert torch.allclose(drawn.T.cov(), wanted, atol=0.06)


def test_snapshots_that_are_the_same_draw_themselves():
    """Of which the mean of the squares is below the square of the mean, by rounding."""
    weights = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    assert (torch.stack([weights] * 3).square().mean(0) < torch.stack([weights] * 3).mean(0).square()).any()
    (one,) = swag([{"w": weights}] * 3, 1)
    assert torch.allclose(one["w"], weights, atol=2e-3)


def test_draws_are_of_the_seed_and_what_is_no_weight_is_of_the_last():
    states = [{"w": torch.zeros(4), "n": torch.tensor(i)} for i in range(2)] + [
        {"w": torch.ones(4), "n": torch.tensor(9)}
    ]
    one, again, other = swag(states, 1, seed=1), swag(states, 1, seed=1), swag(states, 1, seed=2)
    assert torch.equal(one[0]["w"], again[0]["w"])
    assert not torch.equal(one[0]["w"], other[0]["w"])
    assert one[0]["n"] == 9
    with pytest.raises(LehrError, match="SWAG has 1 snapshots: give at least 2"):
        swag(states[:1], 1)


def test_small_deviations_around_large_weights_are_not_lost():
    states = [{"w": torch.full((20_000,), 1.0 + sign * 1e-5)} for sign in (-1, 1, -1, 1)]
    (own,) = (torch.cat([one["w"] - 1.0 for one in swag(states, 1, seed=seed)]) for seed in (0,))
    each = own - own.mean()  # what all weights share is of the other half
    assert float(each.std()) == pytest.approx(1e-5 / 2**0.5, rel=0.05)
