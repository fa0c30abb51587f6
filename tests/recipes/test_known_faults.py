"""What has gone wrong in earlier tools for lottery tickets, as read in the source of OpenLTH (2020) and in the issues of Lightning's ModelPruning.

Each of it is ruled out by a test, here or where this list says:

- Rewinding silently did nothing (Lightning 13643): `test_ticket.test_survivors_are_reset_bit_for_bit_and_the_schedule_goes_on`.
- Weights of equal size are pruned together, so that more goes than was asked (OpenLTH): below.
- Layers that are left out count for the rate (OpenLTH): `test_ticket.test_left_out_layers_do_not_count_for_the_rate`.
- The optimizer goes on gathering gradients of what is pruned (OpenLTH): below.
- Nothing is seeded but the order of the data, so that a replicate cannot be had again (OpenLTH): below.
- The head has 10 classes whatever the data has (OpenLTH): below, on a folder of images through the command.
- The test set is looked at after every epoch (OpenLTH): below.
- A control that crashes, or is no control (OpenLTH's `even`): `test_ticket.test_controls_have_as_many_weights_in_every_layer`.
- Shared parameters are counted twice (Lightning 13595): below.
- Masks are lost, or checkpoints are not sparse, after a restart (Lightning 6073): `tests/study/test_ticket.test_stopped_anywhere_it_goes_on_to_the_same_bits`.
- Copies break (Lightning 8542, 21717), and masks do nothing on several processes (OpenLTH): `tests/sparsify/test_contract.py`, `test_distributed.py`.
- Networks of a depth that does not exist (OpenLTH): `tests/models/test_models.test_unknown_networks_are_told_with_the_families`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from lehr import Mask
from lehr.cli.main import run as main
from lehr.recipes.ticket import ticket
from lehr.recipes.train import train
from lehr.runs import RunFolder, TrainSettings
from lehr.runs.digest import weights_digest
from lehr.runs.weights import read_weights
from lehr.training import loop as loop_module
from tests.data.folders import class_folders
from tests.recipes.test_ticket import SHORT, level

TIED = """
from torch import nn
class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.first, self.second = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, num_classes, bias=False)
    def forward(self, x):
        return self.head(self.second(self.first(x.flatten(1)).relu()).relu())
def net(num_classes):
    return Net(num_classes)
"""


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "dense"
    train(TrainSettings(**SHORT), folder)
    return folder


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_equal_weights_are_not_pruned_together(tmp_path, scope):
    """ZerO has many exact zeros: a threshold would take all of them, or none."""
    train(TrainSettings(**{**SHORT, "epochs": 0, "init": "zero"}), tmp_path / "dense")
    ticket(level(tmp_path / "dense", 1, epochs=0, start="0", rate=0.3, scope=scope), tmp_path / "one")
    mask = Mask.load(tmp_path / "one" / "mask.safetensors")
    assert mask.kept == round(0.7 * mask.size)


def test_the_optimizer_knows_nothing_of_what_is_pruned(dense, tmp_path, monkeypatch):
    seen: list[dict[str, torch.Tensor]] = []
    whole = loop_module._Run.batch

    def batch(run, inputs, targets):
        whole(run, inputs, targets)
        state = run.parts.optimizer.optimizer.state
        if run.folder.path.name == "one":
            seen.append({name: state[p]["momentum_buffer"].clone() for name, p in run.parts.model.named_parameters()})

    monkeypatch.setattr(loop_module._Run, "batch", batch)
    ticket(level(dense, 1), tmp_path / "one")
    mask = Mask.load(tmp_path / "one" / "mask.safetensors")
    for name, keep in mask.items():
        assert all((one[name][~keep] == 0).all() for one in seen)
        assert (seen[-1][name][keep] != 0).any()


def test_a_replicate_is_had_again_to_the_bit_and_another_seed_is_another(dense, tmp_path):
    found = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(TrainSettings(**SHORT, seed=seed), tmp_path / name / "dense")
        ticket(level(tmp_path / name / "dense", 1, seed=seed), tmp_path / name / "one")
        found[name] = weights_digest(RunFolder(tmp_path / name / "one").weights())
    assert found["a"] == found["b"] != found["c"]


def test_a_folder_of_images_has_a_head_for_its_classes(tmp_path, monkeypatch):
    data = class_folders(tmp_path / "data", ("ant", "bee", "cat"), count=12, size=(16, 16))
    asked = ["--data", str(data), "--model", "resnet20", "--image-size", "16", "--rounds", "1", "--rewind", "1it"]
    asked += ["--epochs", "1", "--batch-size", "8", "--branches", "shuffle", "--out", str(tmp_path / "out"), "--quiet"]
    monkeypatch.setattr(sys, "argv", ["lehr", "ticket", *asked])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    (own,) = (tmp_path / "out" / "runs").glob("level-1-from-1it-seed*")
    weights = read_weights(own / "model.safetensors")
    assert (
        next(tensor for name, tensor in weights.items() if name.startswith("head") and tensor.ndim == 2).shape[0] == 3
    )
    assert 0 <= RunFolder(own).result()["test"]["accuracy"] <= 1


@pytest.mark.parametrize(
    "changes", [{}, {"rewind": "rate"}, {"rewind": "no"}, {"control": "shuffle"}, {"number": 0}], ids=str
)
def test_the_test_set_is_read_once(dense, tmp_path, monkeypatch, changes):
    ticket(level(dense, 1), tmp_path / "before")  # the way to step k, which is a run of its own
    looks = []
    judge = loop_module._Run.judge
    monkeypatch.setattr(
        loop_module._Run,
        "judge",
        lambda run, part: looks.append((run.folder.path.name, part is run.data.test)) or judge(run, part),
    )
    own = dict(changes)
    ticket(level(dense, own.pop("number", 1), **own), tmp_path / "one")
    assert sum(test for name, test in looks if name == "one") == 1


def test_shared_parameters_are_counted_once(tmp_path):
    (tmp_path / "mine.py").write_text(TIED)
    own = {"model": f"{tmp_path / 'mine.py'}:net"}
    train(TrainSettings(**{**SHORT, **own}), tmp_path / "dense")
    result = ticket(level(tmp_path / "dense", 1, **own), tmp_path / "one")
    mask = Mask.load(tmp_path / "one" / "mask.safetensors")
    assert mask.size == result["parameters"] == 64 * 64 + 64 * 10
    assert mask.kept == result["nonzeros"] == (64 * 64 + 64 * 10) // 2
