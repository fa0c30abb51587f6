"""Studies over workers of Ray on this machine, left alone and disturbed: the same bits as of one process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lehr import LehrError
from lehr.study import ray_workers
from lehr.study.board import Workers
from lehr.study.execute import Job, RunState
from lehr.study.folder import read_study_folder
from lehr.study.plan import plan
from lehr.study.run import run_study
from tests.cli.test_bad_input import Shell
from tests.cli.test_commands import ENV, LEHR
from tests.study.small import bits, small, small_file, stamps, table

ASKED = {"method": ["one-shot", "gradual"], "seed": [0, 1], "epochs": 6, "tune_epochs": 6}
PATIENCE = 240.0  # seconds; Ray takes ten to begin, and more where other tests run beside it


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """That study by one process."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    run_study(small(**ASKED), folder)
    return folder


@pytest.fixture
def lehr(capfd, monkeypatch):
    return Shell(capfd, monkeypatch)


@pytest.fixture
def started(tmp_path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts that study over two workers; what it has started is ended with the test, whatever happens."""
    known: list[psutil.Process] = []

    def start(seconds: str = "0.1") -> subprocess.Popen[str]:
        file = small_file(tmp_path / "asked.yaml", **ASKED)
        words = [*LEHR, "study", "run", file, "--workers", "2", "--out", tmp_path / "out"]
        env = {**ENV, "LEHR_CHECKPOINT_SECONDS": seconds}
        pipe = subprocess.PIPE
        process = subprocess.Popen([*map(str, words)], env=env, stdout=pipe, stderr=pipe, text=True)
        known.append(psutil.Process(process.pid))
        return process

    yield start
    for process in known:
        for one in [*family(process), process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def family(process: psutil.Process) -> list[psutil.Process]:
    """What it has started; without the agents of Ray, which take a minute to see that they are alone."""
    try:
        children = process.children(recursive=True)
        return [child for child in children if not name_of(child).endswith("Agent")]
    except psutil.NoSuchProcess:
        return []


def name_of(process: psutil.Process) -> str:
    """Ray names its processes by what they do, ``ray::RUN``."""
    try:
        return (process.cmdline() or [""])[0]
    except psutil.Error:
        return ""


def wait_until(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert process.poll() is None, f"it ended too soon: {process.communicate()}"
        assert time.monotonic() < end
        time.sleep(0.01)


def begun(out: Path) -> list[Path]:
    """Runs in the middle: with a checkpoint and without a result."""
    found = [path.parent for path in (out / "runs").glob("*/checkpoint.safetensors")]
    return [path for path in found if not (path / "result.json").exists()]


def worker_of(run: Path, process: subprocess.Popen[str]) -> psutil.Process | None:
    return next((one for one in family(psutil.Process(process.pid)) if name_of(one) == f"ray::{run.name}"), None)


def assert_same(out: Path, whole: Path) -> None:
    assert bits(out) == bits(whole)
    assert table(read_study_folder(out)) == table(read_study_folder(whole))
    assert not list((out / "runs").rglob("failure.json"))
    assert not list((out / "runs").rglob(".*.part"))


def assert_gone(processes: list[psutil.Process], seconds: float = 30) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not [name_of(one) for one in alive]


def overlap(out: Path) -> bool:
    """Whether a run began before another had ended, and the other way round."""
    times = [((p.parent / "settings.json").stat().st_mtime, p.stat().st_mtime) for p in stamps(out)]
    return any(a is not b and a[0] < b[1] and b[0] < a[1] for a in times for b in times)


# -- disturbed ----------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_has_its_run_taken_up_and_the_bits_are_those_of_one_process(whole, started, tmp_path):
    process, out = started(), tmp_path / "out"
    victim: list[psutil.Process] = []

    def found() -> bool:
        victim[:] = [worker for run in begun(out) if (worker := worker_of(run, process))]
        return bool(victim)

    wait_until(found, process)
    run = name_of(victim[0]).removeprefix("ray::")
    victim[0].kill()
    assert not (out / "runs" / run / "result.json").exists(), "it was killed in the middle"
    others = family(psutil.Process(process.pid))
    _, error = process.communicate(timeout=PATIENCE)
    assert (process.returncode, error) == (0, "")
    assert_same(out, whole)
    assert overlap(out), "two at a time"
    assert_gone(others)


def test_where_the_driver_is_killed_nothing_is_left_behind_and_it_goes_on_to_the_same_bits(whole, started, tmp_path):
    process, out = started(), tmp_path / "out"
    wait_until(lambda: len(begun(out)) >= 1 and stamps(out), process)
    helpers = family(psutil.Process(process.pid))
    assert any(name_of(one).startswith("ray::") for one in helpers)
    process.kill()
    process.communicate()
    assert_gone(helpers)
    done = stamps(out)
    assert 0 < len(done) < 6
    run_study(small(**ASKED), out)
    assert done.items() <= stamps(out).items()
    assert_same(out, whole)


def test_asked_to_stop_every_run_saves_and_it_goes_on_to_the_same_bits(whole, started, tmp_path):
    process, out = started(seconds="1000"), tmp_path / "out"  # nothing is saved unless it is asked for
    wait_until(lambda: any(not (path.parent / "result.json").exists() for path in out.rglob("metrics.jsonl")), process)
    helpers = family(psutil.Process(process.pid))
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert error == "stopped; every run has saved its state: start the same command again to go on\n"
    assert_gone(helpers)
    runs = list((out / "runs").iterdir())
    assert len(stamps(out)) < 6
    for run in runs:
        saved = (run / "result.json").exists() or (run / "checkpoint.safetensors").exists()
        assert saved or not (run / "metrics.jsonl").exists(), f"{run.name} has lost what it had"
    run_study(small(**ASKED), out)
    assert_same(out, whole)


@pytest.mark.long
def test_left_alone_it_gives_the_bits_of_one_process(whole, started, tmp_path):
    process = started()
    printed, error = process.communicate(timeout=PATIENCE)
    assert (process.returncode, error) == (0, "")
    assert_same(tmp_path / "out", whole)
    assert overlap(tmp_path / "out"), "two at a time"
    assert (tmp_path / "out" / "table.md").read_text() == table(read_study_folder(whole))
    assert "6 runs: about" in printed
    assert "with 2 workers" in printed
    again = started()
    printed, error = again.communicate(timeout=PATIENCE)
    assert (again.returncode, error) == (0, "")
    assert "every run is done" in printed


@pytest.mark.long
def test_a_run_that_kills_its_worker_every_time_is_given_up_and_the_others_go_on(tmp_path):
    (tmp_path / "own.py").write_text(
        "import os, signal, torch\n"
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        if torch.initial_seed() == 1 and self.training and 'raylet' in open(f'/proc/{os.getppid()}/cmdline').read():\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().forward(x)\n"
        "def net(): return Net(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    values = {"model": f"{tmp_path}/own.py:net", "seed": [0, 1]}
    file = small_file(tmp_path / "asked.yaml", **values)
    words = [*LEHR, "study", "run", str(file), "--workers", "2", "--out", str(tmp_path / "out")]
    done = subprocess.run(words, env=ENV, capture_output=True, text=True, timeout=280)
    assert (done.returncode, done.stderr) == (0, "")
    assert "its worker died 6 times" in done.stdout
    found = read_study_folder(tmp_path / "out")
    assert [(row.label, row.n, row.failed) for row in found.rows] == [("dense parent", 1, 1), ("one-shot", 1, 1)]
    parent, child = (cell.result["failed"] for cell in found.failures)
    assert parent.startswith("its worker died 6 times")
    assert child.endswith(parent)


# -- what cannot be -----------------------------------------------------------------------------------------


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LehrError, match=r"which is not installed: pip install 'lehr\[study\]'"):
        run_study(small(), tmp_path, workers=Workers(2))
    assert not (tmp_path / "runs").exists(), "nothing was begun"
    assert len(run_study(small(), tmp_path).rows) == 2, "one worker needs no Ray"


@pytest.mark.parametrize(
    ("address", "named"), [("nonsense", "nonsense"), ("127.0.0.1:1", "127.0.0.1:1"), ("", "an empty address")]
)
def test_an_address_that_is_none_or_that_nobody_answers_is_one_sentence(lehr, tmp_path, address, named):
    words = ("study", "run", small_file(tmp_path / "asked.yaml"), "--out", tmp_path / "out", "--address", address)
    code, _, error = lehr(*words)
    assert code == 2
    assert error.startswith(f"error: Ray cannot be reached at {named} (")
    assert error.endswith("): give its --address as host:port, or auto\n")
    assert error.count("\n") == 1


# -- the same without Ray -----------------------------------------------------------------------------------


class FakeRay:
    """As much of Ray as is asked for, on two machines of four cores; it does a task when that is waited for."""

    class exceptions:
        class RayError(Exception): ...

        class WorkerCrashedError(RayError): ...

        class OutOfMemoryError(RayError): ...

    def __init__(self, work) -> None:
        self.work, self.asked, self.ended = work, [], []

    def is_initialized(self) -> bool:
        return True

    def nodes(self):
        return [
            {"Alive": alive, "Resources": {"CPU": cpus}} for alive, cpus in ((True, 4.0), (True, 2.0), (False, 64.0))
        ]

    def remote(self, **options):
        return lambda _: self

    def options(self, **options):
        ray = self

        class Task:
            def remote(self, *arguments):
                ray.asked.append((options, *arguments))
                return len(ray.asked) - 1

        return Task()

    def wait(self, references, **_):
        return references[:1], references[1:]

    def cancel(self, reference, **_) -> None:
        self.ended.append(reference)

    def get(self, reference):
        return self.work(self, *self.asked[reference][1:])


def do_with(work, monkeypatch, tmp_path, **study) -> list[tuple[str, RunState]]:
    """What is told of each run of a small study where workers do `work`."""
    monkeypatch.setitem(sys.modules, "ray", FakeRay(work))
    monkeypatch.setattr(ray_workers, "_check_shared", lambda *_: None)
    monkeypatch.setattr(ray_workers, "GLANCE", 0.0)
    jobs = jobs_of(tmp_path, **study)
    told: list[tuple[str, RunState]] = []
    ray_workers.do_all_on_ray(jobs, lambda job, state: told.append((job.run.folder.rpartition("-")[0], state)))
    return told


def jobs_of(out: Path, **study) -> list[Job]:
    runs = plan(small(**study))
    return [Job.of(run, out, {run.name: run for run in runs}) for run in runs]


def test_a_child_is_asked_for_with_its_parent(monkeypatch, tmp_path):
    seen = []
    do_with(lambda ray, job, before: seen.append((job, before)) or ("done", ""), monkeypatch, tmp_path, seed=[0, 1])
    assert [(job.run.kind, before) for job, before in seen] == [
        ("train", None),
        ("tune", 0),
        ("train", None),
        ("tune", 2),
    ]


def test_a_run_that_another_process_does_is_asked_for_again(monkeypatch, tmp_path):
    answers = iter(["busy", "busy", "busy", "done", "done"])
    told = do_with(lambda *_: (next(answers), ""), monkeypatch, tmp_path)
    assert sorted(name for name, _ in told) == ["dense-seed0", "one-shot-0.9-seed0"]
    assert {state.status for _, state in told} == {"done"}
    assert next(answers, None) is None, "three times busy"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("WorkerCrashedError", "its worker died 6 times: memory may have run out"),
        ("OutOfMemoryError", "memory ran out"),
    ],
)
def test_a_worker_that_is_lost_for_good_is_a_failure_of_its_run(monkeypatch, tmp_path, error, reason):
    def work(ray, job, before):
        if job.run.kind == "tune":
            raise getattr(ray.exceptions, error)
        return "done", ""

    (_, parent), (_, child) = do_with(work, monkeypatch, tmp_path)
    assert parent.status == "done"
    assert child.status == "failed"
    assert child.reason.startswith(reason)


def test_a_child_of_a_run_whose_worker_is_lost_has_that_as_its_reason(monkeypatch, tmp_path):
    def work(ray, job, before):
        raise ray.exceptions.WorkerCrashedError  # of the child too, as Ray does

    (_, parent), (_, child) = do_with(work, monkeypatch, tmp_path)
    assert child.reason == f"the run that it starts from failed: {parent.reason}"


def test_anything_else_of_ray_is_one_sentence(monkeypatch, tmp_path):
    def work(ray, *_):
        raise ray.exceptions.RayError("the raylet\nhas gone")

    with pytest.raises(LehrError, match=r"Ray could not do dense-seed0-[0-9a-f]{12} \(the raylet has gone\)"):
        do_with(work, monkeypatch, tmp_path)


@pytest.mark.parametrize(("answer", "error"), [("full", "CannotWrite"), ("interrupted", "Interrupted")])
def test_a_full_disk_or_a_stop_in_a_worker_ends_the_study(monkeypatch, tmp_path, answer, error):
    with pytest.raises(LehrError, match="the reason") as told:
        do_with(lambda *_: (answer, "the reason"), monkeypatch, tmp_path)
    assert type(told.value).__name__ == error


def test_what_ends_the_study_lets_the_others_save_first(monkeypatch, tmp_path):
    stopped = []
    monkeypatch.setattr(ray_workers, "_stop", lambda ray, references: stopped.extend(references))
    with pytest.raises(LehrError, match="the reason"):
        do_with(lambda *_: ("interrupted", "the reason"), monkeypatch, tmp_path)
    assert stopped == [1], "the run that was not asked to stop"


def test_a_folder_that_workers_do_not_share_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", FakeRay(lambda *_: ("done", "")))
    with pytest.raises(LehrError, match="is not to be seen here: give --out a folder that all machines share"):
        ray_workers.do_all_on_ray(jobs_of(tmp_path), lambda *_: None)


def test_on_a_cluster_a_run_asks_for_its_threads(monkeypatch, tmp_path):
    ray = FakeRay(lambda *_: ("done", ""))
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_workers, "_check_shared", lambda *_: None)
    jobs = jobs_of(tmp_path, threads=3)
    for address, cpus in (("somewhere:6379", 3), (None, 1)):
        ray.asked.clear()
        ray_workers.do_all_on_ray(jobs, lambda *_: None, address=address)
        assert {options["num_cpus"] for options, *_ in ray.asked} == {cpus}


@pytest.mark.parametrize(
    ("threads", "gpus", "message"),
    [(5, 0.0, "a run asks for 5 CPU and the largest machine has 4"), (1, 0.5, "asks for 0.5 GPU and the largest machine has 0")],
)  # fmt: skip
def test_a_run_that_no_machine_could_take_is_refused_and_not_waited_for(monkeypatch, tmp_path, threads, gpus, message):
    monkeypatch.setitem(sys.modules, "ray", FakeRay(lambda *_: ("done", "")))
    with pytest.raises(LehrError, match=message):
        ray_workers.do_all_on_ray(
            jobs_of(tmp_path, threads=threads), lambda *_: None, address="somewhere:6379", gpus=gpus
        )


def test_the_environment_of_a_launch_is_not_that_of_a_run(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ray_workers, "do", lambda job: RunState("done", os.environ.get("WORLD_SIZE", "none")))
    assert ray_workers._work(None, None) == ("done", "none")
