"""Several runs at a time: stopping."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lehr.base.errors import Interrupted
from lehr.recipes import runner
from lehr.recipes.runner import Task, work
from lehr.runs import TrainSettings

TASK = Task("nowhere", TrainSettings(data="digits", model="lenet5", epochs=1))


def test_a_worker_that_was_stopped_begins_nothing_more(monkeypatch):
    begun = []

    def stopped(task):
        begun.append(task)
        raise Interrupted("stopped")

    monkeypatch.setattr(runner, "run_task", stopped)
    monkeypatch.setattr(runner, "_stopping", False)
    for _ in range(3):  # what the pool had handed over before it was told
        with pytest.raises(Interrupted):
            work(TASK)
    assert len(begun) == 1


def test_a_stopped_comparison_leaves_although_many_runs_wait(tmp_path):
    command = [
        sys.executable, "-m", "lehr.cli.main", "compare", "--data", "digits", "--model", "lenet_300_100", "--epochs", "0",
        "--sparsity", "0.5,0.6,0.7,0.8", "--methods", "one-shot,gradual", "--tune-epochs", "3000", "--jobs", "2", "--seeds",
        "1", "--out", str(tmp_path / "c"),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "LEHR_CHECKPOINT_SECONDS": "0.1"}
    )
    end = time.monotonic() + 120
    while len(list(tmp_path.glob("c/runs/*/checkpoint.safetensors"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; every run has saved its state" in error
    assert len(list(tmp_path.glob("c/runs/*/settings.json"))) == 2


def test_workers_of_a_killed_comparison_end(tmp_path):
    """They save, and do not wait for ever for tasks of a parent that is gone."""
    command = [
        sys.executable, "-m", "lehr.cli.main", "compare", "--data", "digits", "--model", "lenet_300_100", "--epochs", "0",
        "--sparsity", "0.5,0.6,0.7,0.8", "--methods", "one-shot,gradual", "--tune-epochs", "3000", "--jobs", "2", "--seeds",
        "1", "--out", str(tmp_path / "c"),
    ]  # fmt: skip
    process = subprocess.Popen(command, env={**os.environ, "LEHR_CHECKPOINT_SECONDS": "0.1"}, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while len(list(tmp_path.glob("c/runs/*/checkpoint.safetensors"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while alive := [pid for pid in workers if Path(f"/proc/{pid}").exists() and running(pid)]:
        assert time.monotonic() < end, f"{alive} of {workers} are left"
        time.sleep(0.1)


def running(pid: int) -> bool:
    """Whether a process is more than an entry that nobody has read."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
