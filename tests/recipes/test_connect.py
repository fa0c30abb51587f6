"""The line between two finished runs: on the parts that are asked for, with batch-norm as it is asked for."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch

from lehr import LehrError
from lehr.analysis import barrier
from lehr.data import Batches, load
from lehr.recipes.connect import ConnectSettings, connect, told
from lehr.recipes.network import JudgeSettings, open_network
from lehr.recipes.train import train
from lehr.runs import RunFolder, TrainSettings

NORMED = """
from torch import nn
def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, num_classes))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[str, str]:
    place: Path = tmp_path_factory.mktemp("connect")
    (place / "mine.py").write_text(NORMED)
    own = {"data": "digits", "model": f"{place / 'mine.py'}:net", "epochs": 1, "batch_size": 64, "threads": 1}
    for seed in (0, 1):
        train(TrainSettings(**own, seed=seed), place / str(seed))
    return str(place / "0"), str(place / "1")


@pytest.mark.parametrize("count", [0, 5])
def test_every_part_is_judged_on_its_own_examples_and_by_statistics_of_training(runs, count):
    data = load("digits")
    found = connect(
        ConnectSettings(
            run=runs[0], other=runs[1], points=3, bn_batches=count, examples=100, parts=("train", "validation", "test")
        )
    )
    a, b = (open_network(JudgeSettings(run=run)).model for run in runs)
    inputs = [x for x, _ in islice(Batches(data, 64, 0).epoch(0), count)] if count else None
    parts = {"train": data.train.take(torch.arange(100)), "validation": data.validation, "test": data.test}
    for name, part in parts.items():
        loader = [(data.prepare.judged(part.inputs), part.targets)]
        wanted = told(barrier(a, b, loader, points=3, statistics=inputs))
        assert found[name]["losses"] == pytest.approx(wanted["losses"], rel=1e-4), name
        assert found[name]["errors"] == pytest.approx(wanted["errors"]), name
    assert len({tuple(found[name]["losses"]) for name in parts}) == 3


def test_runs_that_see_the_data_scaled_in_two_ways_are_refused(runs, tmp_path):
    settings = RunFolder(runs[0]).settings()
    train(settings.model_copy(update={"limit": 200}), tmp_path / "few")
    with pytest.raises(LehrError, match="see digits scaled in two ways: give two with one limit"):
        connect(ConnectSettings(run=runs[0], other=str(tmp_path / "few"), points=3))


@pytest.mark.parametrize("first", [True, False])
def test_a_file_of_weights_beside_a_run_is_a_network_of_its_kind(runs, tmp_path, first):
    file = tmp_path / "other.pt"
    torch.save(open_network(JudgeSettings(run=runs[1])).model.state_dict(), file)
    pair = (runs[0], str(file)) if first else (str(file), runs[0])
    wanted = (runs[0], runs[1]) if first else (runs[1], runs[0])
    found, same = (connect(ConnectSettings(run=a, other=b, points=3, bn_batches=0)) for a, b in (pair, wanted))
    assert found["test"] == same["test"]


def test_where_both_networks_guess_a_note_says_that_a_flat_line_says_nothing(runs, tmp_path):
    state = open_network(JudgeSettings(run=runs[0])).model.state_dict()
    torch.save({name: torch.zeros_like(tensor) for name, tensor in state.items()}, tmp_path / "zeros.pt")
    zeros = str(tmp_path / "zeros.pt")
    own = RunFolder(runs[0]).settings()
    found = connect(ConnectSettings(run=zeros, other=zeros, data="digits", model=own.model, points=2, bn_batches=0))
    assert found["test"]["connected"]
    assert [note.partition(":")[0] for note in found["notes"]] == ["train", "test"]
    assert connect(ConnectSettings(run=runs[0], other=zeros, points=2, bn_batches=0))["notes"] == []
