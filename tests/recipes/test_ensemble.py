"""Finished networks together: what is drawn around them, on which data a temperature is fitted, and what they cost."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lehr import LehrError, Mask
from lehr.analysis.calibration import fit_temperature
from lehr.analysis.corruptions import corrupt
from lehr.analysis.quality import quality
from lehr.data import Batches, Split, load
from lehr.deploy.family import load_family
from lehr.ensembles import COMBINE, mean_probabilities
from lehr.models.wrappers import SelfEnsemble
from lehr.recipes import corrupted, ensemble_bench
from lehr.recipes.ensemble import Members, cost_of, judge, open_members, sampled
from lehr.recipes.ensemble_bench import latency, pack_members
from lehr.recipes.parent import ancestors
from lehr.recipes.questions import EnsembleSettings
from lehr.recipes.train import train
from lehr.recipes.tune import tune, tune_settings
from lehr.runs import RunFolder, TrainSettings

NORMED = """
from torch import nn
def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, num_classes))
"""


@pytest.fixture(scope="module")
def members(tmp_path_factory) -> Members:
    """Two dense networks with batch-norm, of two seeds."""
    place = tmp_path_factory.mktemp("ensemble")
    (place / "mine.py").write_text(NORMED)
    own = {"data": "digits", "model": f"{place / 'mine.py'}:net", "epochs": 1, "batch_size": 64, "threads": 1}
    for seed in (0, 1):
        train(TrainSettings(**own, seed=seed), place / str(seed))
    return open_members([str(place / "0"), str(place / "1")])


def test_what_is_drawn_has_statistics_of_its_own(members):
    drawn = sampled(members, 2, seed=3)
    inputs = [x for x, _ in islice(Batches(members.data, 64, 1).epoch(0), 100)]
    for network in drawn.networks:
        assert isinstance(network, nn.Sequential)
        with torch.no_grad():
            wanted = torch.stack([network[:2](x).mean(0) for x in inputs]).mean(0)
        torch.testing.assert_close(network[2].running_mean, wanted, rtol=1e-4, atol=1e-5)
    assert not torch.equal(drawn.networks[0][1].weight, drawn.networks[1][1].weight)
    assert not torch.equal(drawn.networks[0][1].weight, sampled(members, 1, seed=4).networks[0][1].weight)


def test_the_temperature_is_that_of_the_mean_of_probabilities_on_validation(members):
    data = members.data
    result = judge(members, EnsembleSettings(run="", temperature=True))
    with torch.no_grad():
        known, asked = (
            mean_probabilities(torch.stack([net.eval()(data.prepare.judged(part.inputs)) for net in members.networks]))
            for part in (data.validation, data.test)
        )
    fitted = fit_temperature(known, data.validation.targets)
    assert result["temperature"]["value"] == pytest.approx(fitted, rel=1e-4)
    assert fitted != pytest.approx(fit_temperature(asked, data.test.targets), rel=1e-3)
    scaled = quality(asked / fitted, data.test.targets)
    assert (result["temperature"]["nll"], result["temperature"]["ece"]) == (
        pytest.approx(scaled.nll, rel=1e-4),
        pytest.approx(scaled.ece, abs=1e-4),
    )


def test_a_network_that_is_an_ensemble_by_itself_has_the_diversity_of_its_members(members):
    inside = [nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(2)]
    tree = Beside(*inside)
    result = judge(replace(members, networks=(tree,), masks=(None,)), EnsembleSettings(run="", temperature=True))
    apart = judge(replace(members, networks=tuple(inside), masks=(None, None)), EnsembleSettings(run=""))
    assert (result["count"], len(result["members"])) == (2, 2)
    assert result["diversity"] == apart["diversity"]
    assert result["probabilities"] == apart["probabilities"]
    assert result["cost"]["parameters"] == 2 * 650


class Beside(SelfEnsemble):
    """Two networks as one."""

    def __init__(self, one, other):
        super().__init__()
        self.one, self.other = one, other

    def learn(self, x):
        return torch.stack([self.one(x), self.other(x)], 1)

    def members(self, x):
        return torch.stack([self.one(x), self.other(x)])


def test_corrupted_scores_are_by_hand_those_of_either_mean(members, monkeypatch):
    """Two severities of two corruptions, of images that come in two batches, which see the noise of their places."""
    monkeypatch.setattr(corrupted, "CORRUPTED_BATCH", 4)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 1, 16, 16), generator=generator, dtype=torch.uint8)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    torch.manual_seed(0)
    networks = tuple(nn.Sequential(nn.Flatten(), nn.Linear(256, 10)).eval() for _ in range(2))
    data = replace(load("digits"), test=Split(images, targets))
    shown = replace(members, networks=networks, data=data)
    monkeypatch.setattr("lehr.recipes.ensemble.cost_of", lambda members: {})
    kinds, severities = ("gaussian_noise", "contrast"), (2, 5)
    result = judge(shown, EnsembleSettings(run="", corrupted=True, corruptions=kinds, severities=severities, seed=3))
    for way, combine in COMBINE.items():
        told, wanted = result[way]["corrupted"], {}
        for kind in kinds:
            for severity in severities:
                inputs = data.prepare.judged(corrupt(images, kind, severity, seed=3))
                with torch.no_grad():
                    logits = torch.stack([network(inputs) for network in networks])
                wanted[kind, severity] = quality(combine(logits), targets).nll
            found = [one["nll"] for one in told["by_severity"][kind]]
            assert found == pytest.approx([wanted[kind, severity] for severity in severities], rel=1e-4)
            assert told["corruptions"][kind]["nll"] == pytest.approx(sum(found) / 2, rel=1e-6)
        assert told["severities"] == [2, 5]
        assert told["mean"]["nll"] == pytest.approx(sum(wanted.values()) / 4, rel=1e-4)
    assert result["logits"]["corrupted"]["mean"]["nll"] != result["probabilities"]["corrupted"]["mean"]["nll"]


def test_the_cost_is_of_all_members_and_the_run_they_share_counts_once(members, tmp_path):
    for i, sparsity in enumerate((0.5, 0.75)):
        own = {"sparsity": sparsity, "method": "one-shot", "epochs": 2, "batch_size": 64, "threads": 1}
        tune(tune_settings(members.runs[0], own), tmp_path / str(i))
    pruned = open_members([str(tmp_path / "0"), str(tmp_path / "1")])
    cost = cost_of(pruned)
    dense, weights, others = 2 * (64 * 12 + 12 * 10), 64 * 12 + 12 * 10, 12 + 2 * 12 + 10
    assert cost["epochs"] == 1 + 2 + 2
    assert cost["flops"] == 2 * dense
    assert cost["kept_flops"] == pytest.approx(0.75 * dense)
    assert cost["parameters"] == 2 * (weights + others)
    assert cost["nonzeros"] <= 0.75 * weights + 2 * others
    assert cost["nonzeros"] > 0.75 * weights


def test_training_is_charged_for_what_takes_part_and_not_for_what_is_left_at_the_end(members, tmp_path):
    own = {"sparsity": 0.5, "batch_size": 64, "threads": 1, "epochs": 1, "tau": 1.0, "tau_schedule": "linear"}
    flops = {}
    for method, anneal in (("one-shot", "0"), ("temperature-annealing", "1.0")):
        path = str(tmp_path / method)
        tune(tune_settings(members.runs[0], {**own, "method": method, "anneal": anneal} if method != "one-shot" else {"sparsity": 0.5, "batch_size": 64, "threads": 1, "epochs": 1, "method": method}), path)  # fmt: skip
        flops[method] = cost_of(open_members([path]))["training_flops"] - cost_of(members)["training_flops"] / 2
    # From all weights to half of them, linearly: three quarters in the mean.
    assert flops["temperature-annealing"] == pytest.approx(1.5 * flops["one-shot"], rel=0.04)


def test_training_of_attention_is_three_passes_of_it(tmp_path):
    (tmp_path / "vit.py").write_text(
        "from lehr.models.vit import ViT\ndef net(num_classes):\n    return ViT(16, 1, 2, num_classes, (1, 8, 8))\n"
    )
    settings = TrainSettings(
        data="digits", model=f"{tmp_path / 'vit.py'}:net", epochs=1, batch_size=64, limit=64, threads=1
    )
    train(settings, tmp_path / "run")
    own = open_members([str(tmp_path / "run")])
    cost = cost_of(own)
    assert cost["training_flops"] == pytest.approx(3 * cost["flops"] * len(own.data.train), rel=1e-6)


def test_networks_that_are_drawn_cost_the_passes_that_their_statistics_take(tmp_path):
    settings = TrainSettings(data="digits", model="resnet20", epochs=1, batch_size=64, limit=128, threads=1)
    train(settings, tmp_path / "run")
    own = open_members([str(tmp_path / "run")] * 2)
    drawn = sampled(own, 3)
    assert drawn.forwards == 3 * 2 * 64, "two batches are all that there are"
    plain = cost_of(own)["training_flops"]
    assert cost_of(drawn)["training_flops"] == pytest.approx(plain * (1 + 3 * 128 / (3 * len(own.data.train))))


def test_a_network_that_is_an_ensemble_is_timed_beside_the_one_inside(tmp_path, monkeypatch):
    settings = TrainSettings(data="digits", model="tree-2:resnet20", epochs=0, batch_size=64, limit=64, threads=1)
    train(settings, tmp_path / "run")
    seen = []
    monkeypatch.setattr(ensemble_bench, "race", lambda dense, networks, *_, **__: seen.append((dense, networks)))
    latency(open_members([str(tmp_path / "run")]))
    ((dense, (tree,)),) = seen
    assert type(dense).__name__ == "ResNet"
    assert sum(p.numel() for p in dense.parameters()) < sum(p.numel() for p in tree.parameters())


def test_the_latency_is_the_fastest_way_for_all_by_the_fastest_for_one(members, monkeypatch):
    def laps(ways, seconds):
        times = {"in turn": 6.0, "at once": 5.0, "together": 7.0, "one dense": 2.0}
        return [
            SimpleNamespace(engine=way, median=next(time for part, time in times.items() if part in way))
            for way in ways
        ]

    monkeypatch.setattr(ensemble_bench, "laps", laps)
    found = latency(members, threads=1)
    assert found["ratio"] == 2.5
    assert found["milliseconds"]["members at once, torch"] == 5000.0


def test_a_run_comes_from_the_folder_it_names_and_not_from_one_of_that_name_beside_it(members, tmp_path):
    parent = tmp_path / "parents" / "same"
    shutil.copytree(members.runs[0], parent)
    own = {"sparsity": 0.5, "method": "one-shot", "epochs": 0, "threads": 1}
    for name in ("same", "other"):
        tune(tune_settings(parent, own), tmp_path / name)
        assert ancestors(str(tmp_path / name)) == [str(tmp_path / name), str(parent)]
    shutil.copytree(parent, tmp_path / "moved" / "same")
    shutil.copytree(tmp_path / "other", tmp_path / "moved" / "other")
    shutil.rmtree(parent)
    assert ancestors(str(tmp_path / "moved" / "other")) == [str(tmp_path / "moved" / n) for n in ("other", "same")]
    with pytest.raises(LehrError, match=r"same comes from .*parents/same, which is not there: move it back"):
        ancestors(str(tmp_path / "same"))


def test_members_are_packed_with_their_masks(members, tmp_path):
    tune(
        tune_settings(members.runs[0], {"sparsity": 0.9, "method": "one-shot", "epochs": 1, "threads": 1}),
        tmp_path / "small",
    )
    small = open_members([str(tmp_path / "small")])
    size = pack_members(small, tmp_path / "small.lehr")
    assert size == (tmp_path / "small.lehr").stat().st_size
    assert isinstance(small.masks[0], Mask)
    _, (mask,) = load_family(tmp_path / "small.lehr", small.networks)
    assert mask == small.masks[0]


def test_a_few_test_examples_are_enough_to_time_many_at_once(members, monkeypatch):
    seen = []
    monkeypatch.setattr(ensemble_bench, "race", lambda dense, networks, inputs, **_: seen.append(inputs))
    data = replace(members.data, test=members.data.test.first(30))
    latency(replace(members, data=data), 32)
    assert seen[0].shape[0] == 32
    assert torch.equal(seen[0][30:], seen[0][:2])


def test_the_epochs_of_a_part_of_the_schedule_are_those_of_the_part(members, tmp_path):
    whole = RunFolder(members.runs[0]).settings()
    train(whole.model_copy(update={"epochs": 4, "start": "1ep", "stop": "3ep"}), tmp_path / "part")
    assert cost_of(open_members([str(tmp_path / "part")]))["epochs"] == 2
