"""One run of a study, done, continued or recorded as failed; and all of them in this process."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lehr.base.errors import Busy, CannotWrite, Diverged, Interrupted, LehrError, one_line
from lehr.base.files import read_json, write_json
from lehr.runs import RunFolder
from lehr.runs.folder import FAILURE
from lehr.study.definition import Run
from lehr.study.kinds import kinds
from lehr.training.interrupt import stop_on_signal

PATIENCE = 0.5  # seconds between looks at a run that another process does


@dataclass(frozen=True)
class Job:
    """A run, its folder, and that of the run it starts from."""

    run: Run
    path: Path
    parent: Path | None

    @classmethod
    def of(cls, run: Run, out: Path, runs: dict[str, Run]) -> Job:
        """The job of a run of a study in `out`."""
        parent = None if run.parent is None else runs[run.parent].path(out)
        return cls(run, run.path(out), parent)


@dataclass(frozen=True)
class RunState:
    """What has become of a run: ``done``, ``failed`` (and why), ``busy`` elsewhere, or ``open``."""

    status: str
    reason: str = ""


def state_of(path: Path) -> RunState:
    """What a run folder says."""
    folder = RunFolder(path)
    if folder.done:
        result = folder.result()
        return RunState("failed", result["failed"]) if "failed" in result else RunState("done")
    failure = path / FAILURE
    if failure.is_file():
        value = read_json(failure)
        return RunState("failed", str(value.get("reason", "")) if isinstance(value, dict) else "")
    return RunState("open")


def do(job: Job) -> RunState:
    """Do a run that is not done, or go on with it.

    A run that diverges has that as its result; any other failure is recorded beside it, with the
    traceback, and is tried again when the study is started again.

    Raises:
        Interrupted: asked to stop; the state is saved.
        CannotWrite: the disk is full, say; other runs would fare no better.
    """
    folder = RunFolder(job.path)
    if folder.done:
        return state_of(job.path)
    if job.parent is not None:
        before = state_of(job.parent)
        if before.status == "failed":
            return record_failure(job, parent_failed(before.reason))
        if before.status == "open":
            return RunState("busy")  # another process trains it
    if folder.busy:
        return RunState("busy")
    (job.path / FAILURE).unlink(missing_ok=True)
    try:
        kinds[job.run.kind].run(job.run.settings, job.path, job.parent)
    except Busy:
        return RunState("busy")
    except (Interrupted, CannotWrite):
        raise
    except Diverged as error:
        folder.fail(str(error))
        return RunState("failed", str(error))
    except LehrError as error:
        return record_failure(job, str(error))
    except Exception as error:  # a user's network or data may raise anything
        reason = one_line(error, 500, named=True)
        return record_failure(job, reason, traceback.format_exc())
    return RunState("done")


PARENT_FAILED = "the run that it starts from failed"


def parent_failed(reason: str) -> str:
    """What is said of a run that could not start."""
    return reason if reason.startswith(PARENT_FAILED) else f"{PARENT_FAILED}: {reason}"


def record_failure(job: Job, reason: str, trace: str = "") -> RunState:
    """Write down why a run could not be done."""
    write_json(job.path / FAILURE, {"reason": reason, "traceback": trace.splitlines()})
    return RunState("failed", reason)


def do_all(jobs: Sequence[Job], told: Callable[[Job, RunState], None]) -> None:
    """Do the jobs in order in this process, leaving those that another process does to it, and wait for those.

    `told` hears of each as it ends. Raises as `do`.
    """
    waiting = list(jobs)
    with stop_on_signal() as request:  # between runs; a run looks out for itself
        while waiting:
            busy = []
            for job in waiting:
                if request:
                    raise Interrupted("stopped between two runs")
                state = do(job)
                if state.status == "busy":
                    busy.append(job)
                else:
                    told(job, state)
            waiting = busy
            if busy:
                time.sleep(PATIENCE)
        if request:  # while the last one was at what no signal ends
            raise Interrupted("stopped after the last run")
