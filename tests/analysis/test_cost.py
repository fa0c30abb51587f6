import pytest
import torch
from torch import nn

from lehr import Mask, models, select
from lehr.analysis.cost import cost, flops


def test_flops_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5))
    counts = flops(net, torch.zeros(1, 3, 4, 4))
    assert counts["0"] == 2 * 8 * 3 * 9 * 16
    assert counts["3"] == 2 * 8 * 16 * 5
    assert counts[""] == counts["0"] + counts["3"]


def test_attention_counts_its_own_products():
    net = models.create("vit_tiny")
    counts = flops(net, torch.zeros(1, 3, 32, 32))
    places, width = 65, 192
    linear = 2 * places * width * 3 * width + 2 * places * width * width
    products = 2 * 2 * places * places * width
    assert counts["blocks.0.attention"] == linear + products
    # The published 1.3 GMAC of DeiT-Ti at 224 pixels.
    big = flops(models.create("vit_tiny", num_classes=1000, input_shape=(3, 224, 224)), torch.zeros(1, 3, 224, 224))
    assert big[""] / 2e9 == pytest.approx(1.26, abs=0.02)


@pytest.mark.parametrize(("name", "gmac"), [("resnet18", 0.556), ("resnet20", 0.041), ("vgg16", 0.313)])
def test_networks_cost_what_is_known(name, gmac):
    assert flops(models.create(name), torch.zeros(1, 3, 32, 32))[""] / 2e9 == pytest.approx(gmac, abs=0.001)


def test_kept_flops_go_by_the_density_of_each_layer():
    net = nn.Sequential(nn.Linear(4, 10, bias=False), nn.Linear(10, 2, bias=False))
    mask = Mask({"0.weight": torch.arange(40).reshape(10, 4) < 10})
    found = cost(net, torch.zeros(1, 4), mask)
    assert (found.dense, found.kept) == (2 * 60, 2 * (10 + 20))
    assert [(layer.name, layer.flops, layer.kept_flops) for layer in found.layers] == [("0.weight", 80, 20.0)]
    assert cost(net, torch.zeros(1, 4), None).kept == 120
    alone = nn.Linear(4, 2)
    assert cost(alone, torch.zeros(1, 4), select(alone, 0.5)).kept == 8


@pytest.mark.parametrize("name", ["dropout-0.1", "tree-2", "mimo-2", "batch-ensemble-4"])
def test_members_of_a_sparse_network_that_is_an_ensemble_are_as_sparse(name):
    net = models.create(f"{name}:lenet_300_100", num_classes=10, input_shape=(1, 8, 8)).eval()
    found = cost(net, torch.zeros(1, 1, 8, 8), select(net, 0.5))
    assert found.dense > 0
    assert found.kept == pytest.approx(0.5 * found.dense, rel=0.1)


def test_a_frozen_norm_stays_frozen_when_operations_are_counted():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3).eval())
    flops(net, torch.zeros(1, 2))
    assert [module.training for module in net] == [True, False]
