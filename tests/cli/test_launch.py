"""Two processes, started as people start them: the masks, the files and the words of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lehr import Mask
from lehr.base.errors import Interrupted
from lehr.cli.main import run as main
from lehr.recipes.train import train
from lehr.recipes.tune import tune, tune_settings
from lehr.runs import RunFolder, TrainSettings
from tests.cli.test_commands import wait_for
from tests.training.test_loop import stop_after

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "LEHR_CHECKPOINT_SECONDS": "0.1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
# Without --multi_gpu Accelerate starts one process where there is no GPU, whatever --num_processes says.
ACCELERATE = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no", "--module", "lehr.cli.main",
]  # fmt: skip

# Runs several commands of lehr, one after another, in the processes of one launch.
SEVERAL = """
import json, sys
from accelerate import PartialState
from lehr.cli.main import run
for words in json.loads(sys.argv[1]):
    sys.argv = ["lehr", *words]
    try:
        run()
    except SystemExit as end:
        if end.code:
            raise
assert PartialState().num_processes == 2, "each process takes itself for the only one"
"""

METHODS = ("one-shot", "temperature-annealing", "gradual")
FILES = {"settings.json", "metrics.jsonl", "model.safetensors", "result.json", "timing.json", "lock"}
TRAIN = ("train", "--data", "digits", "--model", "lenet_300_100", "--epochs", "2", "--threads", "1")


def tune_words(dense: Path, method: str, out: Path) -> list[str]:
    more = ["--target", "moving"] if method == "temperature-annealing" else []
    words = ["tune", "--from", str(dense), "--sparsity", "0.9", "--scope", "layer", "--method", method, *more]
    return [*words, "--epochs", "2", "--threads", "1", "--out", str(out)]


def settings(dense: Path, **values):
    return tune_settings(dense, {"sparsity": 0.9, "scope": "layer", "epochs": 2, "threads": 1, **values})


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """One folder: `dense`, what one process makes of it in `one`, and what two make in `two`."""
    place = tmp_path_factory.mktemp("launch")
    before = torch.get_num_threads()
    train(TrainSettings(data="digits", model="lenet_300_100", epochs=2, threads=1), place / "dense")
    with pytest.MonkeyPatch.context() as patch:
        for method in METHODS:
            patch.setattr(sys, "argv", ["lehr", *tune_words(place / "dense", method, place / "one" / method)])
            with pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code
        # A run that one process has begun, for two to finish.
        stop_after(patch, 7)
        with pytest.raises(Interrupted):
            tune(settings(place / "dense", method="one-shot"), place / "two" / "begun")
    torch.set_num_threads(before)
    return place


@pytest.fixture(scope="module")
def launched(place) -> subprocess.CompletedProcess[str]:
    """All commands in one launch of two processes: starting them takes longer than the runs."""
    (place / "several.py").write_text(SEVERAL)
    commands = [[*TRAIN, "--out", str(place / "two" / "dense")]]
    commands += [tune_words(place / "dense", method, place / "two" / method) for method in METHODS]
    commands += [[*tune_words(place / "dense", "one-shot", place / "two" / "begun"), "--resume"]]
    words = [*TORCHRUN, str(place / "several.py"), json.dumps(commands)]
    return subprocess.run(words, capture_output=True, text=True, env=ENV, timeout=200)


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_near(one: Path, two: Path) -> None:
    """The same lines and the same result, but for the order in which numbers are added up."""
    first, second = rows(one), rows(two)
    assert len(first) == len(second) == 2, "a line for each epoch, from one process only"
    for a, b in zip(first, second, strict=True):
        assert a == pytest.approx(b, abs=1e-3)
    results = [json.loads((folder / "result.json").read_text()) for folder in (one, two)]
    for part in ("validation", "test"):
        assert results[0][part] == pytest.approx(results[1][part], abs=1e-3)
    for key in ("parameters", "nonzeros", "kept", "weights", "task"):
        assert results[0].get(key) == results[1].get(key)


def test_two_processes_train_what_one_does(place, launched):
    assert launched.returncode == 0, launched.stderr[-2000:]
    assert {p.name for p in (place / "two" / "dense").iterdir()} == FILES
    assert_near(place / "dense", place / "two" / "dense")
    one, two = (RunFolder(f).weights() for f in (place / "dense", place / "two" / "dense"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_choose_the_mask_of_one(place, launched, method):
    assert launched.returncode == 0, launched.stderr[-2000:]
    one, two = place / "one" / method, place / "two" / method
    assert {p.name for p in two.iterdir()} == FILES | {"mask.safetensors"}
    assert (one / "mask.safetensors").read_bytes() == (two / "mask.safetensors").read_bytes()
    assert_near(one, two)
    mask, tensors = Mask.load(two / "mask.safetensors"), RunFolder(two).weights()
    assert all((tensors[name][~keep] == 0).all() for name, keep in mask.items())


def test_two_processes_finish_what_one_began(place, launched):
    assert launched.returncode == 0, launched.stderr[-2000:]
    begun, one = place / "two" / "begun", place / "one" / "one-shot"
    assert {p.name for p in begun.iterdir()} == FILES | {"mask.safetensors"}
    assert (begun / "mask.safetensors").read_bytes() == (one / "mask.safetensors").read_bytes()
    assert_near(one, begun)


def test_only_one_process_speaks(place, launched):
    assert launched.returncode == 0, launched.stderr[-2000:]
    assert launched.stdout.count("run folder") == 2 + len(METHODS)
    assert "Traceback" not in launched.stderr


def test_a_launch_that_is_asked_to_stop_saves_and_one_process_finishes(place, tmp_path):
    out = tmp_path / "run"
    words = ["tune", "--from", str(place / "dense"), "--sparsity", "0.9", "--method", "gradual", "--batch-size", "16"]
    words += ["--epochs", "6", "--threads", "1", "--out", str(out)]
    process = subprocess.Popen(
        [*ACCELERATE, *words], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(out / "checkpoint.safetensors", process, 100)
        process.send_signal(signal.SIGTERM)
        printed, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    assert not printed
    assert error.count("the state is saved: continue with --resume") >= 1, error[-2000:]
    assert not (out / "result.json").exists()
    assert (out / "checkpoint.safetensors").exists()
    begun = rows(out)
    epochs = [row["epoch"] for row in begun]
    assert epochs == sorted(set(epochs)), "a line from one process only"
    values = {"sparsity": 0.9, "method": "gradual", "batch_size": 16, "epochs": 6, "threads": 1}
    values |= {"lr": 0.1, "schedule": "one-cycle"}
    result = tune(tune_settings(place / "dense", values), out, resume=True)
    assert result["kept"] == 5020
    assert {p.name for p in out.iterdir()} == FILES | {"mask.safetensors"}
    lines = rows(out)
    assert [row["epoch"] for row in lines] == list(range(1, 7))
    assert lines[: len(begun)] == begun, "nothing that was done is done again"
