"""Studies that are killed, stopped, shared, or have no room: nothing is lost, nothing is done twice, and it is told."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from lehr.study.definition import Study
from lehr.study.folder import read_study_folder
from lehr.study.results import FILE, read_results
from lehr.study.run import run_study
from lehr.study.ticket import tickets
from tests.cli.test_bad_input import Shell
from tests.cli.test_commands import ENV
from tests.study.small import bits, small, small_file, stamps, table

ASKED = {"method": ["one-shot", "gradual"], "seed": [0, 1], "tune_lr": [1e-6, 0.1], "choose_seeds": [0]}
RUNS = 2 + 4 + 2  # parents, those that choose, and the others at what was chosen
DRIVER = Path(__file__).with_name("disturbed.py")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """That study, left alone."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    run_study(small(**ASKED), folder)
    return folder


@pytest.fixture
def lehr(capfd, monkeypatch):
    return Shell(capfd, monkeypatch)


def driven(way: str, folder: Path, *more: object, every_step: bool = False, asked: Study | None = None) -> list[int]:
    """How each process of a study in FOLDER/out ended."""
    file = small_file(folder / "asked.yaml", **ASKED)
    if asked is not None:
        file.write_text(yaml.safe_dump(asked.model_dump(mode="json")))
    env = {**ENV, "LEHR_CHECKPOINT_SECONDS": "0" if every_step else "30"}
    words = [sys.executable, str(DRIVER), way, str(file), str(folder / "out"), *map(str, more)]
    done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=1500)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def trained(folder: Path) -> Counter[str]:
    """How often each run was begun."""
    return Counter(line.split()[1] for line in (folder / "fits").read_text().splitlines())


def assert_as_if_left_alone(out: Path, whole: Path) -> None:
    assert bits(out) == bits(whole)
    there, here = read_study_folder(whole), read_study_folder(out)
    assert table(here) == table(there)
    assert [cell.result for cell in here.cells] == [cell.result for cell in there.cells]
    assert len(pq.read_table(out / FILE)) == len(pq.read_table(whole / FILE)) == RUNS
    assert not [path for path in (out / "runs").rglob("*") if path.name.startswith((".", "failure"))]


# -- kills --------------------------------------------------------------------------------------------------


def test_killed_at_any_write_it_goes_on_to_the_same_bits(whole, tmp_path):
    codes = driven("storm", tmp_path, 1, 26)
    assert codes.pop() == 0
    assert set(codes) == {-signal.SIGKILL}
    assert len(codes) >= 4
    assert_as_if_left_alone(tmp_path / "out", whole)
    assert max(trained(tmp_path).values()) > 1, "some were killed in the middle"
    assert run_study(small(**ASKED), tmp_path / "out").rows == read_study_folder(tmp_path / "out").rows


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 7))
def test_killed_at_any_write_of_a_checkpoint_too(whole, tmp_path, seed):
    codes = driven("storm", tmp_path, seed, 40, every_step=True)
    assert len(codes) >= 8
    assert_as_if_left_alone(tmp_path / "out", whole)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_two_at_once_killed_at_any_time_go_on_to_the_same_bits(whole, tmp_path, seed):
    codes = driven("timed", tmp_path, seed, every_step=True)
    assert codes.count(-signal.SIGKILL) >= 20
    assert set(codes) <= {0, -signal.SIGKILL}
    assert_as_if_left_alone(tmp_path / "out", whole)


SIZE = {"data": "digits", "model": "lenet_300_100", "epochs": 2, "batch_size": 64, "threads": 1}


def asked_tickets() -> Study:
    """A level from a step on the way, and another from other weights."""
    return tickets(**SIZE, rounds=2, rate=0.5, rewind="5it", branches=["reinit"])


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 10))])
def test_tickets_killed_at_any_write_go_on_to_the_same_bits(tmp_path, seed):
    for name in ("whole", "out"):
        run_study(tickets(**SIZE, rounds=1, rate=0.5), tmp_path / name)  # its dense run has not kept the step
    run_study(asked_tickets(), tmp_path / "whole")
    codes = driven("storm", tmp_path, seed, 20, every_step=seed > 1, asked=asked_tickets())
    assert codes.pop() == 0
    assert set(codes) == {-signal.SIGKILL}
    assert len(codes) >= 3
    assert bits(tmp_path / "out") == bits(tmp_path / "whole")
    assert table(read_study_folder(tmp_path / "out")) == table(read_study_folder(tmp_path / "whole"))
    assert not list((tmp_path / "out").rglob("way")), "what was trained up to the step is put away"


def test_a_checkpoint_that_a_kill_has_left_beside_the_result_goes(tmp_path):
    run_study(small(), tmp_path)
    done = next(iter(stamps(tmp_path))).parent
    (done / "checkpoint.safetensors").write_bytes(b"as large as three networks")
    run_study(small(), tmp_path)
    assert not list(tmp_path.rglob("checkpoint.safetensors"))


def test_what_a_kill_has_left_half_written_is_no_hindrance(tmp_path):
    for name in (".study.json.abcdefgh.part", ".results.parquet.abcdefgh.part"):
        (tmp_path / name).write_bytes(b"{")
    found = run_study(small(), tmp_path)
    assert len(found.rows) == 2
    assert read_study_folder(tmp_path).rows == found.rows


# -- two at once --------------------------------------------------------------------------------------------


def test_two_at_once_share_the_work_and_do_nothing_twice(whole, tmp_path):
    assert driven("together", tmp_path) == [0, 0]
    assert_as_if_left_alone(tmp_path / "out", whole)
    assert set(trained(tmp_path).values()) == {1}
    assert trained(tmp_path).keys() == {path.name for path in (whole / "runs").iterdir()}
    who = {line.split()[0] for line in (tmp_path / "fits").read_text().splitlines()}
    assert len(who) == 2, "both have worked"


def test_a_run_that_has_lost_its_end_is_done_again_to_the_same_bits(whole, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    victim = next(path for path in (out / "runs").iterdir() if path.name.startswith("gradual-0.9"))
    for name in ("result.json", "model.safetensors", "mask.safetensors"):
        (victim / name).unlink()
    (out / FILE).unlink()
    others = stamps(out)
    run_study(small(**ASKED), out)
    assert others.items() <= stamps(out).items()
    assert_as_if_left_alone(out, whole)


# -- stops --------------------------------------------------------------------------------------------------


def signalled(patch: pytest.MonkeyPatch, turn: int, number: int) -> None:
    """Send this process a signal when it puts its so-many-th checkpoint into place."""
    plain, count = Path.replace, [0]

    def replace(self: Path, target: Path) -> Path:
        if target.name == "checkpoint.safetensors":
            count[0] += 1
            if count[0] == turn:
                os.kill(os.getpid(), number)
        return plain(self, target)

    patch.setenv("LEHR_CHECKPOINT_SECONDS", "0")
    patch.setattr(Path, "replace", replace)


@pytest.mark.parametrize(("turn", "number"), [(1, signal.SIGTERM), (45, signal.SIGINT), (100, signal.SIGTERM)])
def test_asked_to_stop_it_saves_and_goes_on_to_the_same_bits(lehr, whole, tmp_path, monkeypatch, turn, number):
    file = small_file(tmp_path / "asked.yaml", **ASKED)
    words = ("study", "run", file, "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        signalled(patch, turn, number)
        code, _, error = lehr(*words)
    assert code == 130
    assert error == "stopped; every run has saved its state: start the same command again to go on\n"
    (checkpoint,) = (tmp_path / "out").rglob("checkpoint.safetensors")
    assert not (checkpoint.parent / "result.json").exists()
    ended = stamps(tmp_path / "out")
    assert (len(ended) == 0) == (turn < 38), "a parent has 38 steps"
    run_study(small(**ASKED), tmp_path / "out")
    assert ended.items() <= stamps(tmp_path / "out").items()
    assert_as_if_left_alone(tmp_path / "out", whole)


def test_asked_to_stop_between_trainings_it_says_so(tmp_path):
    file = small_file(tmp_path / "asked.yaml")
    code = (
        "import os, signal, sys\n"
        "from lehr.study import results\n"
        "plain = results.pq.write_table\n"
        "def write(*given, **more):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return plain(*given, **more)\n"
        "results.pq.write_table = write\n"
        f"sys.argv = ['lehr', 'study', 'run', {str(file)!r}, '--out', {str(tmp_path / 'out')!r}]\n"
        "from lehr.cli.main import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENV, timeout=120)
    assert done.returncode == 130
    assert done.stderr == "stopped; every run has saved its state: start the same command again to go on\n"
    assert len(run_study(small(), tmp_path / "out").rows) == 2


# -- no room ------------------------------------------------------------------------------------------------


def full(patch: pytest.MonkeyPatch, name: str, turn: int) -> None:
    """From the so-many-th file of this name on there is no room for it."""
    plain, count = Path.replace, [0]

    def replace(self: Path, target: Path) -> Path:
        if target.name == name:
            count[0] += 1
            if count[0] >= turn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(self, target)

    patch.setattr(Path, "replace", replace)


@pytest.mark.parametrize(
    ("name", "turn"),
    [
        ("study.json", 1),
        ("settings.json", 1),
        ("model.safetensors", 1),
        ("mask.safetensors", 2),
        ("timing.json", 3),
        ("result.json", 5),
        ("results.parquet", 1),
        ("table.md", 1),
        ("report.html", 1),
    ],
)
def test_a_disk_that_is_full_stops_the_study_with_one_sentence(lehr, tmp_path, monkeypatch, name, turn):
    values = {"method": ["one-shot", "gradual"], "seed": [0, 1]}
    words = ("study", "run", small_file(tmp_path / "asked.yaml", **values), "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        full(patch, name, turn)
        code, _, error = lehr(*words)
    assert code == 2
    assert error.startswith("error: cannot write ")
    assert error.endswith("(No space left on device): free space or choose a folder you can write\n")
    assert f"/{name} " in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").rglob(".*.part"))
    assert not list((tmp_path / "out").rglob("failure.json")), "no run is to blame"
    if name == "result.json":
        assert len(list((tmp_path / "out").rglob(name))) == turn - 1, "no other run was begun"
    done = stamps(tmp_path / "out")
    code, printed, error = lehr(*words)
    assert (code, error) == (0, "")
    assert "failed" not in printed
    assert done.items() <= stamps(tmp_path / "out").items()
    assert len(read_results(tmp_path / "out")) == 6


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A real file system of 1 MB, room for two networks and a checkpoint; only root can make one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "lehr-test", place], capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("NO SMALL DISK: run as root where tmpfs can be mounted to try a disk that is really full")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_is_really_full(lehr, tmp_path, small_disk):
    values = {"method": ["one-shot", "gradual"], "sparsity": [0.9, 0.5], "seed": [0]}
    file = small_file(tmp_path / "asked.yaml", **values)
    words = ("study", "run", file, "--out", small_disk / "study")
    code, _, error = lehr(*words)
    assert code == 2
    assert "needs about 0.0 GB" in error or "(No space left on device)" in error
    with pytest.MonkeyPatch.context() as patch:  # an estimate may be wrong
        patch.setattr("lehr.study.estimate.Estimate.check_space", lambda *_: None)
        code, _, error = lehr(*words)
    assert code == 2
    assert "(No space left on device)" in error
    assert error.count("\n") == 1
    before = bits(small_disk / "study")
    assert before, "something was done before"
    subprocess.run(["mount", "-o", "remount,size=30m", small_disk], check=True)
    code, _, error = lehr(*words)
    assert (code, error) == (0, "")
    assert before.items() <= bits(small_disk / "study").items()
    run_study(small(**values), tmp_path / "usual")
    assert bits(small_disk / "study") == bits(tmp_path / "usual")


def test_a_disk_too_small_for_what_is_expected_is_told_at_once(lehr, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    words = ("study", "run", small_file(tmp_path / "asked.yaml"), "--out", tmp_path / "out")
    code, _, error = lehr(*words)
    assert code == 2
    assert "free space, choose another folder, or set keep_weights: false" in error
    assert not (tmp_path / "out").exists()
