"""The line between two networks, by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lehr import LehrError
from lehr.analysis import Barrier, barrier
from lehr.training.averaging import reestimate_batch_norm


class Scale(nn.Module):
    """Logits (w, 0): right for class 0 where w is above 0."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))

    def forward(self, x):
        return torch.stack([self.w.expand(len(x)), torch.zeros(len(x))], 1)


def batches(zeros: int, ones: int, size: int = 3):
    targets = torch.tensor([0] * zeros + [1] * ones)
    return [(torch.zeros(len(part), 1), part) for part in targets.split(size)]


def test_errors_and_losses_by_hand():
    found = barrier(Scale(1.0), Scale(-3.0), batches(3, 1), points=5)
    assert found.alphas == (0.0, 0.25, 0.5, 0.75, 1.0)
    weights = [1.0, 0.0, -1.0, -2.0, -3.0]
    # At w = 0 both logits are equal and the first class is told.
    assert found.errors == (0.25, 0.25, 0.75, 0.75, 0.75)
    losses = [
        0.75 * torch.log1p(torch.exp(torch.tensor(-w))) + 0.25 * torch.log1p(torch.exp(torch.tensor(w)))
        for w in weights
    ]
    assert found.losses == pytest.approx([float(x) for x in losses], rel=1e-5)
    assert found.barrier == pytest.approx(0.75 - 0.5)
    assert found.loss_barrier == pytest.approx(max(found.losses) - (found.losses[0] + found.losses[-1]) / 2)
    assert not found.connected


def test_a_network_is_connected_to_itself_and_ends_are_the_networks():
    torch.manual_seed(0)
    a, b = (nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)) for _ in range(2))
    data = [(torch.randn(16, 4), torch.randint(0, 3, (16,)))]
    same = barrier(a, a, data, points=4)
    assert same.barrier == 0.0
    assert same.connected
    before = [copy.deepcopy(one.state_dict()) for one in (a, b)]
    found = barrier(a, b, data, points=2)
    for one, error in ((a, found.errors[0]), (b, found.errors[1])):
        one.eval()
        assert error == float((one(data[0][0]).argmax(1) != data[0][1]).float().mean())
    for one, state in zip((a, b), before, strict=True):
        assert all(torch.equal(one.state_dict()[name], tensor) for name, tensor in state.items()), "neither is touched"


def test_statistics_of_batch_norm_are_mixed_or_estimated_anew():
    """A layer and its negative: in the middle nothing is left, and its variance is not that which is mixed."""
    torch.manual_seed(0)
    a = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 2))
    b = copy.deepcopy(a)
    with torch.no_grad():
        b[0].weight.mul_(3.0)
    inputs = torch.randn(64, 3)
    for one in (a, b):
        one.train()
        one[1].momentum = None
        one(inputs)
    data = [(inputs, torch.randint(0, 2, (64,)))]
    mixed = barrier(a, b, data, points=3)
    anew = barrier(a, b, data, points=3, statistics=[inputs])
    middle = copy.deepcopy(a)
    with torch.no_grad():
        middle[0].weight.mul_(2.0)
    middle[1].reset_running_stats()
    middle.train()
    middle(inputs)
    middle.eval()
    with torch.no_grad():
        wanted = float(nn.functional.cross_entropy(middle(inputs), data[0][1]))
    assert anew.losses[1] == pytest.approx(wanted, rel=1e-5)
    assert mixed.losses[1] != pytest.approx(wanted, rel=1e-5)


def test_the_ends_too_are_judged_with_statistics_estimated_anew():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    inputs = 5.0 * torch.randn(64, 3) + 1.0
    data = [(inputs, torch.randint(0, 2, (64,)))]
    own = copy.deepcopy(network)
    reestimate_batch_norm(own, [inputs])
    found = barrier(network, network, data, points=3, statistics=[inputs])
    with torch.no_grad():
        anew, kept = (float(nn.functional.cross_entropy(one.eval()(inputs), data[0][1])) for one in (own, network))
    assert found.losses == pytest.approx([anew] * 3, rel=1e-5)
    assert anew != pytest.approx(kept, rel=1e-3)


def test_a_line_is_the_same_each_time_although_dropout_is_on_for_the_statistics():
    torch.manual_seed(0)
    inputs = torch.randn(64, 4)
    data = [(inputs, (inputs.sum(1) > 0).long())]
    a, b = (nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 2)) for _ in range(2))
    before = torch.get_rng_state()
    first = barrier(a, b, data, points=3, statistics=[inputs])
    assert torch.equal(torch.get_rng_state(), before), "nobody's draws are used up"
    torch.rand(1)
    assert barrier(a, b, data, points=3, statistics=[inputs]) == first


def test_bad_input_is_one_sentence():
    data = batches(2, 2)
    with pytest.raises(LehrError, match="points is 1: give at least 2"):
        barrier(Scale(1.0), Scale(2.0), data, points=1)
    with pytest.raises(LehrError, match="the loader is empty"):
        barrier(Scale(1.0), Scale(2.0), [])
    with pytest.raises(LehrError, match="statistics can be read only once: give a list"):
        barrier(Scale(1.0), Scale(2.0), data, statistics=(inputs for inputs, _ in data))
    with pytest.raises(LehrError, match="or can be read only once: give a list of batches"):
        barrier(Scale(1.0), Scale(2.0), (one for one in data))
    with pytest.raises(LehrError, match=r"the networks differ in bias, weight: give two of one architecture"):
        barrier(nn.Linear(2, 3), nn.Linear(2, 4), data)
    with pytest.raises(LehrError, match="the networks differ in bias"):
        barrier(nn.Linear(2, 3), nn.Linear(2, 3, bias=False), data)


def test_two_per_cent_is_the_line():
    assert Barrier((0.0, 0.5, 1.0), (0.1, 0.119, 0.1), (0.0,) * 3).connected
    assert not Barrier((0.0, 0.5, 1.0), (0.1, 0.121, 0.1), (0.0,) * 3).connected
