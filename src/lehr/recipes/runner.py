"""Several runs, one after the other or in a few processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context

from lehr.base.errors import Diverged, Interrupted, LehrError
from lehr.recipes.train import train
from lehr.recipes.tune import tune
from lehr.runs import RunFolder, TrainSettings, TuneSettings
from lehr.training.interrupt import stop_on_signal
from lehr.training.progress import SILENT, Bar

GLANCE = 0.2  # seconds between looks at what else has happened


@dataclass(frozen=True)
class Task:
    """One run to be done: where, and what."""

    path: str
    settings: TrainSettings | TuneSettings


def run_task(task: Task) -> None:
    """Do one run, or go on with it; a tuning run that diverges is recorded as such and is done."""
    if isinstance(task.settings, TrainSettings):
        train(task.settings, task.path, resume=True)
        return
    try:
        tune(task.settings, task.path, resume=True)
    except Diverged as error:
        RunFolder(task.path).fail(str(error))


_stopping = False  # in a worker: a run of it was asked to stop, so no other is begun
_parent = 0  # in a worker: the process that hands out the tasks


def work(task: Task) -> None:
    """`run_task` in a process of its own, which may have been handed its next tasks before it was told to stop."""
    global _stopping
    if _stopping:
        raise Interrupted("stopped before it began")
    try:
        run_task(task)
    except Interrupted:
        _stopping = True
        if _parent and os.getppid() != _parent:
            os._exit(0)  # the state is saved, and nobody is left who would ever end this worker
        raise


def run_all(tasks: Sequence[Task], jobs: int, line: Bar = SILENT) -> None:
    """Do the tasks that are not done, `jobs` at a time, each then in a process of its own.

    Raises `Interrupted` on Ctrl-C or SIGTERM, when every run has been told to save and stop; and
    the first error of a run.
    """
    todo = [task for task in tasks if not RunFolder(task.path).done]
    done = len(tasks) - len(todo)
    line.update(done)
    if jobs <= 1 or len(todo) <= 1:
        for task in todo:
            run_task(task)
            done += 1
            line.update(done)
        return
    with stop_on_signal() as request:
        pool = ProcessPoolExecutor(min(jobs, len(todo)), get_context("spawn"), _begin_worker, (os.getpid(),))
        pending: set[Future[None]] = {pool.submit(work, task) for task in todo}
        try:
            while pending:
                finished, pending = wait(pending, GLANCE, FIRST_COMPLETED)
                if request:
                    raise Interrupted("stopped; every run has saved its state: start the same command again to go on")
                for future in finished:
                    future.result()
                done += len(finished)
                line.update(done)
        except BrokenProcessPool:
            raise LehrError(
                "a process of a run was killed, by the system if memory ran out: start the same command again, "
                "with fewer --jobs"
            ) from None
        except BaseException:
            for child in active_children():
                child.terminate()  # SIGTERM: a run saves and leaves
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_worker(parent: int) -> None:
    """Die quietly of Ctrl-C between runs, and follow a parent that was killed."""
    global _parent
    _parent = parent
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(GLANCE)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()
