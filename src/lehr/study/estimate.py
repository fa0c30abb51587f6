"""What a study will cost in time and disk, from a few training steps of each network on this machine."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from lehr.base.errors import LehrError
from lehr.data import Batches, Dataset
from lehr.recipes.fresh import fresh_model
from lehr.recipes.parent import DATA, load_data
from lehr.runs import Settings
from lehr.study.definition import Run
from lehr.study.kinds import kinds
from lehr.training import evaluate
from lehr.training.losses import task_loss
from lehr.training.optimizers import make_optimizer
from lehr.training.precision import choose_precision
from lehr.training.span import part_of, steps_per_epoch

STEPS = 4  # timed, after one that is not
EXAMPLES = 500  # judged, to time that
MASK = 1 / 8  # bytes of a packed mask for each weight
LINE, REST = 300, 4000  # bytes of the metrics of an epoch, and of the other files
# Runs that share these take the same time.
ALIKE = (*DATA, "batch_size", "precision", "threads", "optimizer", "accumulate")
SLOWER = 1.05  # a step of annealing against a dense one


@dataclass(frozen=True)
class Estimate:
    """So many runs, the seconds of one worker that they need, and the bytes that they leave."""

    runs: int
    seconds: float
    bytes: int
    unknown: int = 0  # runs that could not be timed

    def check_space(self, folder: Path) -> None:
        """Raise where the disk of a folder has not the room for what is to be written there."""
        there = next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())
        free = shutil.disk_usage(there).free
        if self.bytes > free:
            raise LehrError(
                f"{folder} needs about {self.bytes / 1e9:.1f} GB and its disk has {free / 1e9:.1f} GB left: free space, choose "
                "another folder, or set keep_weights: false"
            )

    def told(self, workers: int = 1) -> str:
        """In words.

        >>> Estimate(12, 5400.0, 3 * 10**8).told(2)
        '12 runs: about 45 min with 2 workers, 300 MB'
        """
        seconds = self.seconds / workers
        if seconds < 90:
            duration = f"{seconds:.0f} s"
        elif seconds < 2 * 3600:
            duration = f"{seconds / 60:.0f} min"
        else:
            duration = f"{seconds / 3600:.1f} h"
        size = f"{self.bytes / 1e9:.1f} GB" if self.bytes >= 1e9 else f"{self.bytes / 1e6:.0f} MB"
        with_workers = f" with {workers} workers" if workers > 1 else ""
        rest = f", besides {self.unknown} that could not be timed" if self.unknown else ""
        return f"{self.runs} run{'s' if self.runs != 1 else ''}: about {duration}{with_workers}, {size}{rest}"


def estimate(runs: Sequence[Run], *, keep_weights: bool = True, kind: str = "tune") -> Estimate:
    """Time a few steps of every network at its batch size, precision and threads, and add up.

    Args:
        runs: those that are still to be done.
        keep_weights: whether finished networks of `kind` stay on disk.
        kind: the kind of run that the study is about.
    """
    seconds, size = 0.0, 0.0
    timed: dict[str, _Cost | None] = {}
    unknown = 0
    before = torch.get_num_threads(), torch.get_rng_state()
    try:
        for run in runs:
            settings = run.settings
            key = settings.model_dump_json(include=set(ALIKE))
            if key not in timed:
                timed[key] = _timed(settings, load_data(settings))
            cost = timed[key]
            if cost is None:
                unknown += 1
                continue
            first, last = part_of(settings, cost.steps)
            seconds += (last - first) * (
                cost.step * settings.accumulate * SLOWER + cost.judged / (cost.steps * settings.validate_every)
            )
            if keep_weights or run.kind != kind:
                networks = 1 + len(getattr(settings, "keep", ())) + (kinds[run.kind].origin(settings) is not None)
                size += cost.parameters * (4 * networks + MASK) + LINE * settings.epochs + REST
    finally:
        torch.set_num_threads(before[0])
        torch.set_rng_state(before[1])
    return Estimate(len(runs), seconds, int(size), unknown)


@dataclass(frozen=True)
class _Cost:
    """Seconds of a training step, and of a look at the validation set; steps in an epoch; parameters."""

    step: float
    judged: float
    steps: int
    parameters: int


def _timed(settings: Settings, data: Dataset) -> _Cost | None:
    """The cost of a run; None where its network does not train, which the run itself will tell."""
    try:
        return _measured(settings, data)
    except Exception:  # the user's own code may raise anything
        return None


def _measured(settings: Settings, data: Dataset) -> _Cost:
    torch.set_num_threads(settings.threads)
    model = fresh_model(settings.model, data, 0)
    optimizer = make_optimizer(settings.optimizer, model, 1e-6, settings.momentum, settings.weight_decay)
    bf16 = choose_precision(settings.precision, model) == "bf16"
    times = []
    for inputs, targets in islice(Batches(data, settings.batch_size, 0).epoch(0), STEPS + 1):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = task_loss(model(inputs), targets)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - started)
    few = data.validation.first(EXAMPLES)
    started = time.perf_counter()
    evaluate(model, few, data)
    judged = (time.perf_counter() - started) * len(data.validation) / len(few)
    weights = sum(p.numel() for p in model.parameters())
    return _Cost(statistics.median(times[1:] or times), judged, steps_per_epoch(settings, data), weights)
