"""Smoothing follows its schedules, smooths what it says, and is gone at the end."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lehr
from lehr import LehrError
from lehr.models import create
from lehr.smoothing import skip, soft_relu


class Ways(nn.Module):
    """A ReLU in every spelling, and two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3, stride=2)
        self.module, self.inplace = nn.ReLU(), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.module(self.first(x)) - 0.1
        x = self.inplace(x.clone()) - 0.1
        x = F.relu(x) - 0.1
        x = torch.relu(x) - 0.1
        x = x.relu() - 0.1
        return self.second(x.clone().relu_())


def by_hand(model: Ways, x: torch.Tensor, beta: float, share: float) -> torch.Tensor:
    def act(x):
        return x * torch.sigmoid(beta * x)

    pooled = F.adaptive_avg_pool2d(x, 6)
    x = model.first(x) + share * torch.cat([pooled, torch.zeros(len(x), 1, 6, 6)], 1)
    for _ in range(5):
        x = act(x) - 0.1
    x = act(x)
    return model.second(x) + share * F.adaptive_avg_pool2d(x, 2)[:, :2]


def test_every_relu_and_every_convolution_by_hand():
    torch.manual_seed(0)
    model, x = Ways(), torch.randn(2, 3, 8, 8)
    smoothing = lehr.Smoothing(10, softness=2.0, skip=0.5)
    plain = model(x)
    for t in (0, 3, 9):
        with smoothing.at(t):
            found = model(x)
        beta = 2.0 * 25 ** (t / 10)
        assert torch.allclose(found, by_hand(model, x, beta, 0.5 * (1 - t / 10)), atol=1e-6)
    for t in (10, 11):
        with smoothing.at(t):
            assert torch.equal(model(x), plain), "the original to the bit"
    assert torch.equal(model(x), plain)


def test_skips_alone_leave_activations_and_activations_alone_leave_convolutions():
    layer, x = nn.Conv2d(2, 2, 3, padding=1), torch.randn(1, 2, 4, 4)
    plain = layer(x)
    with lehr.Smoothing(10, ["skips"], skip=0.5).at(0):
        assert torch.allclose(layer(x), plain + 0.5 * x, atol=1e-6)
        assert torch.equal(x.relu(), x.clamp(min=0))
    with lehr.Smoothing(10, ["activations"]).at(0):
        assert torch.equal(layer(x), plain)
        assert torch.allclose(x.relu(), x * x.sigmoid())


def test_in_place_it_is_soft_too():
    x = torch.tensor([-1.0, 2.0])
    with lehr.Smoothing(10).at(0):
        for act in (torch.relu_, F.relu_, torch.Tensor.relu_, lambda x: F.relu(x, inplace=True), nn.ReLU(inplace=True)):
            y = x.clone()
            act(y)
            assert torch.allclose(y, x * torch.sigmoid(x))
            z = x.clone().requires_grad_() * 1.0
            act(z)
            z.sum().backward()


def test_nothing_is_put_into_the_network():
    model, x = Ways(), torch.randn(2, 3, 8, 8)
    modules = list(model.named_modules())
    with lehr.Smoothing(10).at(0):
        model(x).sum().backward()
        assert list(model.named_modules()) == modules
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert list(model.state_dict()) == list(Ways().state_dict())


def test_the_schedules():
    smoothing = lehr.Smoothing(4, labels=0.2, softness=2.0, skip=1.0)
    assert [smoothing.label_smoothing(t) for t in range(6)] == pytest.approx([0.2, 0.15, 0.1, 0.05, 0, 0])
    assert [smoothing.share(t) for t in range(6)] == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])
    assert [smoothing.sharpness(t) for t in range(4)] == pytest.approx([2, 2 * 25**0.25, 10, 2 * 25**0.75])
    assert smoothing.sharpness(4) is None
    alone = lehr.Smoothing(4, ["labels"])
    assert alone.sharpness(0) is None
    assert alone.share(0) == 0.0
    assert lehr.Smoothing(0).label_smoothing(0) == 0.0


@pytest.mark.parametrize("beta", [0.1, 1.0, 50.0])
def test_soft_relu_is_the_formula_and_smooth(beta):
    x = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(soft_relu(x, beta), x * torch.sigmoid(beta * x))
    assert torch.autograd.gradcheck(lambda x: soft_relu(x, beta), (x,))


def test_it_comes_near_the_relu():
    x = torch.linspace(-2, 2, 100_001)
    distances = [float((soft_relu(x, beta) - x.relu()).abs().max()) for beta in (1.0, 5.0, 50.0)]
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] == pytest.approx(0.2785 / 50, rel=1e-2)  # max of x sigmoid(-x) is 0.2785


@pytest.mark.parametrize(("channels", "size"), [(2, 4), (3, 4), (5, 4), (3, 2), (2, 8)])
def test_a_skip_has_the_shape_of_the_output(channels, size):
    x, like = torch.randn(2, 3, 4, 4), torch.zeros(2, channels, size, size)
    found = skip(x, like)
    assert found.shape == like.shape
    if size == 4:
        assert torch.equal(found[:, : min(3, channels)], x[:, :channels])
    assert not found[:, 3:].any()


@pytest.mark.parametrize("name", ["resnet20", "vgg16", "lenet5", "wrn_16_8"])
def test_it_finds_what_is_in_the_networks_of_the_library(name):
    sizes = {"num_classes": 10, "input_shape": (3, 32, 32)} if name in ("vgg16", "lenet5") else {"num_classes": 10}
    lehr.Smoothing(5).check(create(name, **sizes), torch.zeros(2, 3, 32, 32))


def test_what_is_not_there_is_one_sentence():
    mlp = nn.Sequential(nn.Linear(4, 4), nn.GELU())
    with pytest.raises(LehrError, match="the network has no ReLU to soften: leave activations out"):
        lehr.Smoothing(5, ["activations"]).check(mlp, torch.zeros(1, 4))
    with pytest.raises(LehrError, match="the network has no convolution to go around: leave skips out"):
        lehr.Smoothing(5, ["skips"]).check(mlp, torch.zeros(1, 4))
    lehr.Smoothing(5, ["labels"]).check(mlp, torch.zeros(1, 4))
    for make, message in (
        (lambda: lehr.Smoothing(5, ["label"]), "there is no part of smoothing 'label'"),
        (lambda: lehr.Smoothing(5, ["labels", "labels"]), "name each once"),
        (lambda: lehr.Smoothing(-1), "steps of smoothing is -1"),
        (lambda: lehr.Smoothing(5, labels=1.0), "labels is 1.0"),
        (lambda: lehr.Smoothing(5, softness=0.0), "softness is 0.0"),
        (lambda: lehr.Smoothing(5, skip=-1.0), "skip is -1.0"),
        (lambda: lehr.Smoothing(5, skip=math.nan), "skip is nan"),
    ):
        with pytest.raises(LehrError, match=message):
            make()


def test_beside_an_annealed_mask_the_draws_are_the_same():
    """The engine's own sums are not touched by the mode."""
    results = []
    for smooth in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        method = lehr.TemperatureAnnealing(lehr.select(model, 0.5), steps=4, target="moving")
        smoothing = lehr.Smoothing(4 if smooth else 0)
        with lehr.attach(model, optimizer, method):
            for t in range(6):
                optimizer.zero_grad()
                with smoothing.at(t):
                    loss = model(torch.full((3, 6), 0.1 * t)).square().sum()
                loss.backward()
                optimizer.step()
        results.append(model[0].weight.detach().clone())
    assert torch.equal(*results)
