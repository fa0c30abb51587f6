"""The command line as a person uses it, on real digits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from lehr import Mask

LEHR = [sys.executable, "-m", "lehr.cli.main"]
ENV = {**os.environ, "LEHR_CHECKPOINT_SECONDS": "0.1", "OMP_NUM_THREADS": "1"}


def lehr(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*LEHR, *map(str, words)], capture_output=True, text=True, env=ENV, timeout=280)
    if check:
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    return done


TRAIN = ("train", "--data", "digits", "--model", "lenet5", "--epochs", 3, "--seed", 1)


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "dense"
    printed = lehr(*TRAIN, "--out", folder).stdout
    assert "test accuracy" in printed
    return folder


def test_train_tune_show(dense, tmp_path):
    out = tmp_path / "small"
    words = ("tune", "--from", dense, "--sparsity", 0.95, "--method", "temperature-annealing", "--epochs", 8)
    printed = lehr(*words, "--seed", 3, "--out", out).stdout
    assert "6,525 of 130,500" in printed
    assert {p.name for p in out.iterdir()} == {
        "settings.json", "metrics.jsonl", "model.safetensors", "mask.safetensors", "result.json", "timing.json", "lock",
    }  # fmt: skip
    mask = Mask.load(out / "mask.safetensors")
    assert mask.kept == 6525
    tensors = load_file(out / "model.safetensors")
    assert all((tensors[name][~keep] == 0).all() for name, keep in mask.items())
    assert tensors.keys() == load_file(dense / "model.safetensors").keys()
    result = json.loads((out / "result.json").read_text())
    assert result["test"]["accuracy"] > 0.85
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["expected_density"] > 0.3
    assert rows[-1]["expected_density"] == pytest.approx(0.05)

    shown = lehr("show", out).stdout
    for text in ("temperature-annealing", "features.0.weight", "95 % sparse"):
        assert text in shown
    values = json.loads(lehr("show", out, "--json").stdout)
    assert sum(layer["kept"] for layer in values["layers"]) == 6525


def test_prune_cuts_without_tuning(dense, tmp_path):
    result = json.loads(lehr("prune", "--from", dense, "--sparsity", 0.5, "--out", tmp_path / "cut", "--json").stdout)
    assert result["kept"] == 65_250
    trained = load_file(dense / "model.safetensors")
    cut = load_file(tmp_path / "cut" / "model.safetensors")
    mask = Mask.load(tmp_path / "cut" / "mask.safetensors")
    assert all(torch.equal(cut[n], trained[n] * mask[n]) for n in mask)


def test_a_users_own_model_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def net(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, num_classes))\n"
    )
    model = f"{tmp_path}/mine.py:net"
    lehr("train", "--data", "digits", "--model", model, "--epochs", 2, "--out", tmp_path / "dense")
    lehr("tune", "--from", tmp_path / "dense", "--sparsity", 0.5, "--epochs", 2, "--out", tmp_path / "small")


def test_help_has_an_example_for_every_command():
    overview = lehr("--help").stdout
    for command in ("demo", "train", "prune", "tune", "compare", "show"):
        assert command in overview
        assert f"lehr {command}" in lehr(command, "--help").stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_saves_and_resumes_to_the_same_bits(dense, tmp_path, number):
    words = ("tune", "--from", dense, "--sparsity", "0.9", "--method", "random-annealing", "--epochs", "12")
    lehr(*words, "--out", tmp_path / "whole")
    process = subprocess.Popen(
        [*LEHR, *map(str, words), "--out", str(tmp_path / "cut")], env=ENV, stderr=subprocess.PIPE, text=True
    )
    wait_for(tmp_path / "cut" / "checkpoint.safetensors", process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the state is saved: continue with --resume" in error
    assert "Traceback" not in error
    lehr(*words, "--out", tmp_path / "cut", "--resume")
    for name in ("model.safetensors", "mask.safetensors", "result.json", "metrics.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.01)


COMPARE = (
    "compare", "--data", "digits", "--model", "lenet5", "--sparsity", "0.9,0.98",
    "--methods", "one-shot,gradual,random-annealing,temperature-annealing", "--seeds", "1",
    "--epochs", "2", "--tune-epochs", "4", "--threads", "1",
)  # fmt: skip


def bits(folder: Path) -> dict[str, bytes]:
    """Every byte that a comparison leaves, but for times, locks and its own name."""
    names = ("model.safetensors", "mask.safetensors", "metrics.jsonl", "result.json", "table.md")
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.name in names
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compare") / "whole"
    lehr(*COMPARE, "--out", folder)
    return folder


def storm(folder: Path, delays: list[float], workers: int, words: tuple[str, ...] = COMPARE) -> int:
    """Start the comparison and kill it after each delay; return how many kills hit a running one."""
    hits = 0
    for delay in delays:
        process = subprocess.Popen(
            [*LEHR, *words, "--workers", str(workers), "--out", str(folder)], env=ENV, stdout=subprocess.DEVNULL
        )
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            hits += 1
    return hits


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(undisturbed, tmp_path, workers):
    delays = [3.5, 5.5, 6.5] if workers == 1 else [7.0, 9.0]
    assert storm(tmp_path / "cut", delays, workers) >= 1
    lehr(*COMPARE, "--workers", workers, "--out", tmp_path / "cut")
    assert bits(tmp_path / "cut") == bits(undisturbed)
    assert not list((tmp_path / "cut").rglob("checkpoint*"))


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_twenty_kills(tmp_path, workers):
    import random

    moments = random.Random(workers)
    # Five parents of two epochs: at 98 % one of them would leave a layer empty, which is refused.
    changed = {"--seeds": "5", "--sparsity": "0.8,0.9"}
    words = tuple(changed.get(COMPARE[i - 1], word) for i, word in enumerate(COMPARE))
    lehr(*words, "--out", tmp_path / "whole")
    assert storm(tmp_path / "cut", [moments.uniform(2.5, 7) for _ in range(20)], workers, words) >= 10
    lehr(*words, "--workers", workers, "--out", tmp_path / "cut")
    assert bits(tmp_path / "cut") == bits(tmp_path / "whole")


def test_compare_publishes_what_it_found(undisturbed):
    files = {p.name for p in undisturbed.iterdir()}
    assert {"report.html", "table.md", "best", "results.parquet", "study.json", "runs"} <= files
    rows = json.loads(lehr("study", "table", undisturbed, "--json").stdout)
    assert len(rows) == 2 + 2 * 4
    assert json.loads(lehr("show", undisturbed, "--json").stdout)["rows"] == rows
    record = pq.read_table(undisturbed / "results.parquet").to_pylist()[0]
    assert json.loads(record["environment"])["torch"].startswith("2.")
    best = load_file(undisturbed / "best" / "model.safetensors")
    mask = Mask.load(undisturbed / "best" / "mask.safetensors")
    assert mask.sparsity == pytest.approx(0.98, abs=1e-4)
    assert all((best[name][~keep] == 0).all() for name, keep in mask.items())
    shown = lehr("show", undisturbed).stdout
    assert "temperature-annealing" in shown
    page = (undisturbed / "report.html").read_text()
    assert "<pre>lehr compare --data digits" in page
    assert page.count("<svg") == 3
    for outside in ("http://", "https://", "<script", "<link"):
        addresses = page.replace("http://www.w3.org", "").replace("http://purl.org", "")
        addresses = addresses.replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")
        assert outside not in addresses, "the page needs nothing from elsewhere"


def test_a_learning_rate_menu_is_chosen_on_the_first_seeds(tmp_path):
    words = (*COMPARE[:6], "0.98", "--methods", "one-shot", "--seeds", "2", "--epochs", "4", "--tune-epochs", "6")
    rows = json.loads(
        lehr(*words, "--tune-lrs", "0.000001,0.1", "--lr-seeds", "1", "--out", tmp_path / "c", "--json").stdout
    )["rows"]
    pruned = next(row for row in rows if row["label"] == "one-shot")
    assert (pruned["lr"], pruned["n"]) == (0.1, 2)
    runs = [json.loads(p.read_text()) for p in (tmp_path / "c" / "runs").glob("one-shot*/settings.json")]
    assert sorted((run["lr"], run["seed"]) for run in runs) == [(0.000001, 0), (0.1, 0), (0.1, 1)]


def test_importing_lehr_does_not_import_torch():
    code = "import sys, lehr; assert 'torch' not in sys.modules; assert 'Mask' in dir(lehr); lehr.Mask; import torch"
    subprocess.run([sys.executable, "-c", code], check=True)
