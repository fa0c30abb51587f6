"""Studies in processes of their own, forked from this one, which has everything imported: a start takes no time.

``python disturbed.py storm FILE OUT SEED REACH``: start again and again, killed at one of the first REACH files that it
writes, until a start ends by itself.
``python disturbed.py timed FILE OUT SEED``: the same, two processes at once, each killed after some time.
``python disturbed.py together FILE OUT``: two at once, left alone.

What happened is printed as JSON; every training is a line of ``fits`` beside OUT.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import sklearn.datasets  # noqa: F401
import torch

from lehr.recipes import ticket, train, tune
from lehr.study import execute
from lehr.study.file import read_study
from lehr.study.run import run_study


def main(way: str, file: str, out: str, seed: str = "0", reach: str = "2") -> None:
    torch.set_num_threads(1)  # what has other threads cannot be forked
    gc.collect = lambda *_: 0  # at the end of every run, longer than the run
    execute.PATIENCE = 0.02
    study, folder, chances = read_study(Path(file)), Path(out), random.Random(int(seed))

    def start(prepared: Callable[[], None] = lambda: None) -> int:
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            note_trainings(folder.parent / "fits", meet=way == "together")
            prepared()
            run_study(study, folder)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    codes: list[int] = []
    if way == "together":
        codes = [ended(child) for child in [start(), start()]]
    while way == "storm" and set(codes) <= {-signal.SIGKILL}:
        write, before = chances.randint(2, int(reach)), chances.random() < 0.5
        codes.append(ended(start(lambda write=write, before=before: kill_at(write, before=before))))  # type: ignore[misc]
    while way == "timed" and set(codes) <= {-signal.SIGKILL}:
        children = [start(), start()]
        for child in children:
            time.sleep(chances.uniform(0, 0.5 + 0.02 * len(codes)))
            os.kill(child, signal.SIGKILL)
        codes += [ended(child) for child in children]
    print(json.dumps(codes))


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def note_trainings(log: Path, *, meet: bool) -> None:
    """A line for each training that begins: by which process, in which folder. Those that `meet` tune once both have begun."""

    def processes() -> set[str]:
        return {line.split()[0] for line in log.read_text().splitlines()}

    for module in (train, tune, ticket):
        plain = module.fit

        def fit(model, data, settings, folder, plain=plain, **more):
            with log.open("a") as file:
                file.write(f"{os.getpid()} {folder.path.name}\n")
            end = time.monotonic() + 30
            while meet and settings.parent and len(processes()) < 2 and time.monotonic() < end:
                time.sleep(0.01)
            return plain(model, data, settings, folder, **more)

        module.fit = fit


def kill_at(write: int, *, before: bool) -> None:
    """This process is killed when it renames its so-many-th file into place: just before, or just after."""
    plain, count = Path.replace, [0]

    def replace(self: Path, target: Path) -> Path:
        count[0] += 1
        if count[0] == write and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = plain(self, target)
        if count[0] == write:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Path.replace = replace  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:])
