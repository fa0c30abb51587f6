"""Anti-random pairs that stay pairs at every draw."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lehr
from lehr import LehrError, OneShot, RandomAnnealing, TemperatureAnnealing
from lehr.sparsify.method import methods

STEPS = 7


def drawn(method: lehr.Method, model: nn.Module) -> list[dict[str, torch.Tensor]]:
    """Who takes part at each step of a run on ones."""
    seen = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with lehr.attach(model, optimizer, method):
        for _ in range(STEPS + 2):
            model(torch.ones(2, 7)).sum().backward()
            seen.append({name: model.get_parameter(name).detach() != 0 for name in method.target})
            optimizer.step()
            optimizer.zero_grad()
    return seen


def ones() -> nn.Module:
    model = nn.Sequential(nn.Linear(7, 9), nn.Linear(9, 3))
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    return model


@pytest.mark.parametrize("granularity", ["unstructured", "filter"])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "log-density"])
@pytest.mark.parametrize("kind", [TemperatureAnnealing, RandomAnnealing])
def test_every_weight_takes_part_in_exactly_one_of_the_two(kind, schedule, granularity):
    mask, rest = lehr.partition(ones(), 2, seed=1, granularity=granularity)
    options = {"steps": STEPS, "schedule": schedule, "all_weights": True, "seed": 5}
    first, second = drawn(kind(mask, **options), ones()), drawn(kind(rest, **options).mirror(), ones())
    for one, other in zip(first, second, strict=True):
        for name in one:
            assert torch.equal(other[name], ~one[name])
    assert all(torch.equal(first[-1][name], keep) for name, keep in mask.items()), "and ends as its mask"
    assert any(not torch.equal(first[0][name], keep) for name, keep in mask.items()), "not from the first step on"


def test_one_shot_is_a_pair_as_it_is():
    mask, rest = lehr.partition(ones(), 2)
    for one, other in zip(drawn(OneShot(mask), ones()), drawn(OneShot(rest).mirror(), ones()), strict=True):
        assert all(torch.equal(other[name], ~one[name]) for name in one)


def test_what_has_no_complement_says_so():
    _, rest = lehr.partition(ones(), 2)
    with pytest.raises(LehrError, match="draws of temperature-annealing with kept weights certain have no complement"):
        TemperatureAnnealing(rest, steps=3).mirror()
    with pytest.raises(LehrError, match="is to be mirrored and its target moves"):
        TemperatureAnnealing(rest, steps=3, all_weights=True, target="moving").mirror()
    with pytest.raises(LehrError, match="gradual"):
        methods["gradual"](rest, steps=3).mirror()
