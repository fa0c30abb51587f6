"""Every score by name keeps the contract of scores: a pure function, a number a weight, the same again."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import lehr
from lehr import LehrError
from lehr.models import initialise
from lehr.scores import DataScore, scores

NAMES = sorted(set(scores) - {"learned-mask"})  # that one comes with a run


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


BATCHES = [(torch.randn(6, 2, 6, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1, 2]))]


def scored(name: str, model: nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    weights = {n: p.detach() for n, p in model.named_parameters() if p.ndim > 1}
    given = {"batches": BATCHES} if isinstance(scores[name], DataScore) else {}
    return scores[name](model, weights, seed, **given)


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_number_for_each_weight_the_same_again_and_nothing_is_touched(name):
    model = network()
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    found, again = scored(name, model), scored(name, model)
    assert {n: t.shape for n, t in found.items()} == {n: p.shape for n, p in model.named_parameters() if p.ndim > 1}
    for n, t in found.items():
        assert t.isfinite().all()
        assert not t.requires_grad
        assert torch.equal(t, again[n])
        assert t.unique().numel() > 1, "it tells weights apart"
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("granularity", ["unstructured", "2:4", "filter"])
@pytest.mark.parametrize("name", NAMES)
def test_select_takes_it_by_name_at_every_granularity(name, granularity):
    model = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 4))
    data = [(torch.randn(8, 8), torch.arange(8) % 4)] if isinstance(scores[name], DataScore) else None
    mask = lehr.select(model, 0.5, score=name, data=data, granularity=granularity)
    assert mask.kept == mask.size // 2


@pytest.mark.parametrize("name", NAMES)
def test_from_zero_no_mask_is_inferred_from_the_exact_zeros(name):
    """More weights are asked for than are not zero: the others come from all zeros alike, by seed."""
    model = initialise(nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)), "zero")
    data = [(torch.randn(8, 16), torch.arange(8))] if isinstance(scores[name], DataScore) else None
    masks = [
        lehr.select(model, 0.5, score=name, data=data, rounds=None if data is None else 1, seed=seed) for seed in (0, 1)
    ]
    for mask in masks:
        assert mask.kept == mask.size // 2
        assert min(row.density for row in mask.layers()) > 0.3
    assert masks[0] != masks[1]


def test_a_learned_mask_is_no_function_of_the_network():
    with pytest.raises(
        LehrError, match=r"learned-mask is known of a run with a learned mask .* give score=learned.values"
    ):
        lehr.select(network(), 0.5, score="learned-mask")
