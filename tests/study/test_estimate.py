"""What a study is said to cost, before it does."""

import torch

from lehr.recipes.train import train
from lehr.runs import RunFolder
from lehr.study import estimate as estimating
from lehr.study.estimate import SLOWER, Estimate, _Cost, estimate
from lehr.study.file import study_of
from lehr.study.plan import plan

VALUES = {"data": "digits", "model": "lenet_300_100", "epochs": 3, "tune_epochs": 2, "batch_size": 64, "sparsity": 0.5}

SHY = """
from torch import nn

class Shy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        assert not self.training, "only for show"
        return self.layer(x.flatten(1))
"""


def test_bytes_are_those_of_the_networks_and_masks(tmp_path):
    runs = plan(study_of(VALUES, "t"))
    train(runs[0].settings, tmp_path / "dense")
    size = (tmp_path / "dense" / "model.safetensors").stat().st_size
    assert len(runs) == 2
    assert 2 * size < estimate(runs).bytes < 2.2 * size, "two networks, a mask and small files"
    assert size < estimate(runs, keep_weights=False).bytes < 1.1 * size


def test_time_grows_with_epochs_and_nothing_is_disturbed(tmp_path):
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    few = estimate(plan(study_of(VALUES, "t")))
    many = estimate(plan(study_of(VALUES | {"epochs": 300, "tune_epochs": 200}, "t")))
    assert 20 * few.seconds < many.seconds < 500 * few.seconds
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_timed_is_counted_and_not_the_end(tmp_path):
    (tmp_path / "shy.py").write_text(SHY)
    runs = plan(study_of(VALUES | {"model": f"{tmp_path}/shy.py:Shy"}, "t"))
    found = estimate(runs)
    assert (found.runs, found.unknown, found.seconds) == (2, 2, 0.0)
    assert found.told().endswith("besides 2 that could not be timed")


def test_in_words():
    assert Estimate(1, 10.4, 2_000_000).told() == "1 run: about 10 s, 2 MB"
    assert Estimate(3, 3 * 7200.0, 5 * 10**9).told(3) == "3 runs: about 2.0 h with 3 workers, 5.0 GB"


def test_seconds_of_a_run_add_up_over_its_starts(tmp_path, monkeypatch):
    import time

    from lehr.base.errors import Interrupted
    from lehr.training import loop

    settings = plan(study_of(VALUES, "t"))[0].settings
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock.__setitem__(0, clock[0] + 1.0) or clock[0])
    monkeypatch.setattr(loop, "checkpoint_interval", lambda: 1e9)
    metrics = loop._Run.metrics
    monkeypatch.setattr(loop._Run, "metrics", lambda self: (self.request.__setattr__("signal", 2), metrics(self))[1])
    try:
        train(settings, tmp_path / "run")
    except Interrupted:
        stopped = clock[0]
    monkeypatch.setattr(loop._Run, "metrics", metrics)
    clock[0] = 1000.0
    train(settings, tmp_path / "run", resume=True)
    import json

    seconds = json.loads((tmp_path / "run" / "timing.json").read_text())["seconds"]
    assert seconds > clock[0] - 1000.0 - 20, "the second start"
    assert seconds < clock[0] - 1000.0 + stopped, "and the first, but not what lies between"
    assert RunFolder(tmp_path / "run").done


def test_accumulated_batches_take_the_time_of_all_of_them(monkeypatch):
    monkeypatch.setattr(estimating, "_timed", lambda settings, data: _Cost(1.0, 0.0, -(-20 // settings.accumulate), 10))
    one, four = (estimate(plan(study_of(VALUES | {"accumulate": n, "tune_accumulate": n}, "t"))) for n in (1, 4))
    assert one.seconds == four.seconds == 5 * 20 * SLOWER
