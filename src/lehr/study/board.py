"""Who does the runs of a study, and the records of it while they end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lehr.base.errors import require
from lehr.runs import RunFolder
from lehr.study.definition import Run, Study
from lehr.study.execute import Job, RunState, do_all
from lehr.study.ray_workers import do_all_on_ray
from lehr.study.results import Record, gather, write_results
from lehr.training.progress import bar

SAVED = 20.0  # seconds between looks at all folders while runs end


@dataclass(frozen=True)
class Workers:
    """Who does the runs: this process, or so many workers of Ray here, or a cluster."""

    count: int = 1
    address: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        require(self.count >= 1, f"workers is {self.count}: give at least 1")
        require(self.gpus >= 0, f"gpus-per-run is {self.gpus:g}: give a share, such as 0.25, or a number of GPUs")

    @property
    def on_ray(self) -> bool:
        """Whether Ray is asked."""
        return self.count > 1 or self.address is not None or self.gpus > 0


ALONE = Workers()


class Board:
    """The records of a study while its runs end."""

    def __init__(self, study: Study, runs: list[Run], out: Path, records: dict[str, Record]) -> None:
        self.study, self.runs, self.out, self.records = study, runs, out, records
        self.parents = {run.parent for run in runs}
        self.saved = time.monotonic()

    def do(self, runs: Sequence[Run], title: str, workers: Workers, *, show: bool) -> None:
        """Do those of the runs that have no final record, and the parents of those."""
        by_name = {run.name: run for run in self.runs}
        for run in runs:
            if RunFolder(run.path(self.out)).done:  # a process that was killed may have left what need not be kept
                self._spare(run)
        todo = [run for run in runs if not self._final(run)]
        wanted: dict[str, Run] = {}
        for run in todo:
            for one in self._needed(run, by_name):
                self._reopen(RunFolder(one.path(self.out)))
                wanted.setdefault(one.name, one)
            wanted.setdefault(run.name, run)
        jobs = [Job.of(run, self.out, by_name) for run in wanted.values()]
        with bar(title, len(jobs), show=show) as line:
            count = 0

            def told(job: Job, state: RunState) -> None:
                nonlocal count
                count += 1
                if state.status == "done":
                    self._spare(job.run)
                line.update(count, "" if state.status == "done" else f"{job.run.folder} failed")
                if time.monotonic() - self.saved > SAVED:
                    self.save()

            try:
                if workers.on_ray and jobs:
                    do_all_on_ray(jobs, told, workers=workers.count, address=workers.address, gpus=workers.gpus)
                else:
                    do_all(jobs, told)
            finally:
                self.records = gather(self.runs, self.out, self.records)
        self.save()

    def _spare(self, run: Run) -> None:
        """Leave no weights of a run that is done, if the study keeps none and no other run begins with them."""
        if not self.study.keep_weights and run.kind == self.study.kind and run.name not in self.parents:
            for name in ("model.safetensors", "mask.safetensors", "origin.safetensors"):
                (run.path(self.out) / name).unlink(missing_ok=True)

    def _needed(self, run: Run, by_name: dict[str, Run]) -> list[Run]:
        """The runs that this one goes back to, as far as their weights are not there; the first one first."""
        found: list[Run] = []
        while run.parent is not None:
            run = by_name[run.parent]
            found.insert(0, run)
            if RunFolder(run.path(self.out)).model.is_file():
                break
        return found

    def _reopen(self, folder: RunFolder) -> None:
        """Have a run done again whose weights are needed and were not kept."""
        if folder.done and not folder.model.is_file() and "failed" not in folder.result():
            folder.result_file.unlink()

    def _final(self, run: Run) -> bool:
        return run.name in self.records and bool(self.records[run.name]["final"])

    def save(self) -> None:
        """Write the file of results: all runs of the study that have ended, and those of former versions of it."""
        self.records = gather(self.runs, self.out, self.records)
        order = {run.name: i for i, run in enumerate(self.runs)}
        rows = sorted(self.records.values(), key=lambda record: order.get(record["name"], len(order)))
        write_results(self.out, rows)
        self.saved = time.monotonic()
