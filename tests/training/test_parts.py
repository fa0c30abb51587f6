"""What a checkpoint holds of a network that trains, and that it is all of it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lehr import LehrError
from lehr.training.averaging import Average
from lehr.training.parts import Parts, Position


def parts(seed: int) -> Parts:
    """A network after a few steps of momentum, averaged from the first."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    own = Parts(net, optimizer, Position(1, 2, 3, 1), average=Average(net, 0))
    for _ in range(seed):
        step(own)
    own.totals["loss"] = float(seed)
    return own


def step(own: Parts) -> torch.Tensor:
    loss = own.model(torch.randn(8, 3)).square().mean()
    loss.backward()
    own.optimizer.step()
    own.optimizer.zero_grad()
    own.position.step += 1
    own.average.add(own.model, own.position.step)
    return loss.detach()


def test_what_goes_back_goes_on_to_the_same_bits():
    first, second = parts(3), parts(5)
    second.restore(copy.deepcopy(first.checkpoint("digest", 1.5)), "here", sums=True)  # a file would be a copy
    state = torch.get_rng_state()
    one = step(first)
    torch.set_rng_state(state)
    assert torch.equal(one, step(second))
    assert first.position == second.position == Position(1, 2, 7, 1)
    assert first.totals == second.totals
    for a, b in (
        (first.model.state_dict(), second.model.state_dict()),
        (first.average.state(), second.average.state()),
    ):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_random_numbers_go_on_where_they_were():
    own = parts(2)
    kept = own.checkpoint("digest", 0.0)
    drawn = torch.rand(3)
    own.restore(kept, "here", sums=True)
    assert torch.equal(torch.rand(3), drawn)


def test_one_process_alone_takes_the_sums():
    first, second = parts(3), parts(3)
    second.restore(first.checkpoint("digest", 0.0), "here", sums=False)
    assert set(second.totals.values()) == {0.0}
    assert first.totals["loss"] == 3.0


def test_weights_of_another_network_are_one_sentence():
    own = parts(1)
    other = Parts(nn.Linear(2, 2), torch.optim.SGD([nn.Parameter(torch.zeros(1))]), Position())
    with pytest.raises(LehrError, match="here"):
        other.restore(own.checkpoint("digest", 0.0), "here", sums=True)
