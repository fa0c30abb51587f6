"""What is measured along the way, against a plain computation, and that it changes nothing."""

import json

import pytest
import torch
from torch import nn

import lehr
from lehr.data import Batches, load
from lehr.models import create
from lehr.recipes.train import train
from lehr.recipes.tune import tune, tune_settings
from lehr.runs import TrainSettings
from lehr.training.probe import BATCHES, PROBE_SEED, Probe


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def attached(net: nn.Module, **options):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    return lehr.attach(net, optimizer, lehr.TemperatureAnnealing(lehr.select(net, 0.5), steps=10, **options))


def test_without_noise_the_draws_are_the_target(digits):
    torch.manual_seed(0)
    net = create("lenet_300_100", **digits.sizes)
    seen = Probe(net, digits, 64)(net, attached(net, tau=0.0))
    assert seen["drawn_loss"] == seen["target_loss"]
    assert (seen["distance"], seen["noise_share"]) == (0.0, 0.0)
    assert "norm_drift" not in seen
    batches = list(Batches(digits, 64, PROBE_SEED).epoch(0))[:BATCHES]
    mask = lehr.select(net, 0.5)
    mask.apply_(net)
    losses, gradients = [], []
    for inputs, targets in batches:
        net.zero_grad()
        loss = nn.functional.cross_entropy(net(inputs), targets)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(torch.cat([net.get_parameter(name).grad[keep] for name, keep in mask.items()]).double())
    assert seen["target_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    stacked = torch.stack(gradients)
    noise = stacked.var(0).sum() / stacked.mean(0).square().sum()
    assert seen["gradient_noise"] == pytest.approx(float(noise), rel=1e-4)


def test_noise_shows_in_outputs_and_gradients_and_distance_is_relative(digits):
    torch.manual_seed(0)
    net = create("lenet_300_100", **digits.sizes)
    probe = Probe(net, digits, 64)
    quiet, loud = (probe(net, attached(net, tau=tau)) for tau in (0.1, 0.5))
    assert 0 < quiet["noise_share"] < loud["noise_share"] < 1
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1.5)
    assert probe(net, attached(net))["distance"] == pytest.approx(0.5)


def test_the_drift_of_statistics_by_hand(digits):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 10))
    net[2].running_mean.copy_(torch.tensor([1.0, -2.0, 0.0, 3.0]))
    seen = Probe(net, digits, 64)(net, attached(net, tau=0.0))["norm_drift"]
    inputs = torch.cat([x for x, _ in list(Batches(digits, 64, PROBE_SEED).epoch(0))[:BATCHES]]).flatten(1)
    kept = net[1].weight * lehr.select(net, 0.5)["1.weight"]
    with torch.no_grad():
        given = inputs @ kept.T + net[1].bias
    assert seen == pytest.approx(float(((given.mean(0) - net[2].running_mean).abs() / given.std(0)).mean()), rel=1e-5)


def test_a_run_that_is_measured_is_the_same_run(tmp_path):
    base = TrainSettings(data="digits", model="lenet_300_100", epochs=1, batch_size=64, threads=1)
    train(base, tmp_path / "dense")
    values = {"method": "stochastic-threshold", "sparsity": 0.9, "epochs": 3, "threads": 1}
    for probe in (False, True):
        tune(tune_settings(tmp_path / "dense", values | {"probe": probe}), tmp_path / str(probe))
    plain, probed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("False", "True"))
    assert plain == probed
    rows = [json.loads(line) for line in (tmp_path / "True" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["noise_share"] > rows[-1]["noise_share"] == 0.0
    assert rows[-1]["distance"] > 0
