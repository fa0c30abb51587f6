"""`study run`: everything that is missing of a study, and its results."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lehr.base.errors import Interrupted, LehrError, require, unknown
from lehr.base.files import read_json, write_json
from lehr.report.cells import Cell, best_choice
from lehr.report.html import Page
from lehr.report.rows import Row
from lehr.report.summary import is_variant, summarise
from lehr.report.table import markdown_table
from lehr.report.unscored import unscored
from lehr.runs import RunFolder, validated
from lehr.runs.folder import holds_something
from lehr.study.check import check
from lehr.study.definition import Run, Study
from lehr.study.estimate import Estimate, estimate
from lehr.study.execute import Job, RunState, do_all
from lehr.study.plan import plan
from lehr.study.ray_workers import do_all_on_ray
from lehr.study.results import FILE, Record, cells_of, gather, read_results, write_results
from lehr.training.interrupt import stop_on_signal
from lehr.training.progress import bar

STUDY = "study.json"
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


@dataclass(frozen=True)
class Findings:
    """A study, its runs in order, those that have ended, and the rows that they make."""

    study: Study
    runs: list[Run]
    cells: list[Cell]
    rows: list[Row]

    environment: dict[str, str]

    def page(self, command: str) -> Page:
        """What a report shows of it."""
        return Page(
            self.study.title, self.rows, self.cells, self.study.model_dump(mode="json"), self.environment, command,
            self.study.against, self.study.choose_seeds, len(self.runs), self.failures,
        )  # fmt: skip

    def markdown(self) -> str:
        """The tables for documents, and what has no row in them."""
        missing = [f"- {sentence}\n" for sentence in unscored(self.cells)]
        return markdown_table(self.rows, self.study.against) + ("\n" + "".join(missing) if missing else "")

    def seen(self, *, against: str | None = None, confirming: bool = False) -> Findings:
        """The same, compared with another row, or over the seeds that chose nothing."""
        seeds, against = self.study.choose_seeds, against or self.study.against
        if confirming and seeds is None:
            raise LehrError("every seed of this study chooses, so none confirms: name choose_seeds in its file")
        labels = {cell.label for cell in self.cells}
        if against != self.study.against and not any(is_variant(label, against) for label in labels):
            raise unknown("row", against, labels)
        rows = summarise(self.cells, seeds, against=against, confirming=confirming)
        cells = [cell for cell in self.cells if not (confirming and cell.seed in (seeds or ()))]
        return replace(self, study=self.study.model_copy(update={"against": against}), rows=rows, cells=cells)

    def check_whole(self) -> None:
        """Raise where a run failed, for what needs all of them."""
        if self.failures:
            first, *_ = self.failures
            raise LehrError(
                f"{len(self.failures)} runs failed, the first, {first.label}, because: {first.result['failed']}"
            )

    @property
    def failures(self) -> list[Cell]:
        """The runs without scores."""
        return [cell for cell in self.cells if cell.failed]


def run_study(
    study: Study, out: str | Path, *, workers: Workers = Workers(), show: bool = False, aside: bool = False
) -> Findings:
    """Run what is missing of the study, and give all of it.

    Each row's choice (its learning rate, usually) is made by validation on the seeds that choose; the other
    seeds are then run at what was chosen. The test set chooses nothing. Runs that are done are kept, those
    that were stopped go on, those that failed are recorded and the others run. The same folder may be given to
    several of these at once, which then share the work. Runs that are done `aside`, to find out what the study will be, leave the
    folder's description as it is, if it has one.

    Raises:
        LehrError: a setting is wrong, or the folder holds something else.
        Interrupted, CannotWrite: asked to stop, or the disk is full: start again to go on.
    """
    out = Path(out).absolute()
    runs = plan(study)
    check(runs)
    begin(study, out, aside=aside)
    records = gather(runs, out, read_results(out))
    board = _Board(study, runs, out, records)
    for run in runs:
        folder = RunFolder(run.path(out))
        if folder.done:
            folder.checkpoint.unlink(missing_ok=True)  # of a process that was killed as it ended
    try:
        with stop_on_signal() as request:  # between runs; a run looks out for itself
            if study.choose_seeds is not None:
                board.do(
                    [run for run in runs if run.seed in study.choose_seeds], "runs that choose", workers, show=show
                )
            board.do(expected(study, runs, cells_of(runs, board.records, out)), "runs", workers, show=show)
            if request:
                raise Interrupted("stopped")
    except Interrupted:
        raise Interrupted("stopped; every run has saved its state: start the same command again to go on") from None
    return _found(study, runs, board.records, out)


def missing(study: Study, out: Path) -> tuple[list[Run], Estimate]:
    """The runs of a study that are not done, checked to be possible, and what they will cost."""
    runs = plan(study)
    check(runs)
    records = gather(runs, out.absolute(), read_results(out))
    todo = [
        run
        for run in expected(study, runs, cells_of(runs, records, out))
        if run.name not in records or not records[run.name]["final"]
    ]
    return todo, estimate(todo, keep_weights=study.keep_weights, kind=study.kind)


def is_study(folder: Path) -> bool:
    """Whether a study has been run here."""
    return (folder / STUDY).is_file()


def read_study_folder(out: Path) -> Findings:
    """What has been found so far in a study's folder; its description and its file of results alone will do."""
    study = _described(out)
    runs = plan(study)
    return _found(study, runs, gather(runs, out, read_results(out)), out)


def _described(out: Path) -> Study:
    """What a folder says that it is for."""
    if not is_study(out):
        raise LehrError(f"there is no study in {out}: give the folder that `lehr study run` had as --out")
    value = read_json(out / STUDY)
    if not isinstance(value, dict):
        raise LehrError(f"{out / STUDY} is damaged: it describes no study; start the study again to make it anew")
    return validated(Study, value)


def as_begun(study: Study, out: Path) -> Study:
    """The study with the threads that its folder was begun with, so that runs go on whatever the number of workers is now."""
    with suppress(LehrError):  # a new folder; a damaged description is written anew
        first, *others = (grid.get("threads") for grid in _described(out).grids)
        if type(first) is int and all(other == first for other in others):
            return study.model_copy(update={"grids": tuple({**grid, "threads": first} for grid in study.grids)})
    return study


def left_behind(study: Study, out: Path) -> list[str]:
    """Folders of runs that are done in `out` and that this study has no place for, although the one that was described there until now has."""
    with suppress(LehrError):
        before = plan(_described(out))
        kept = {run.name for run in plan(study)}
        return [run.folder for run in before if run.name not in kept and RunFolder(run.path(out)).done]
    return []


def begin(study: Study, out: Path, *, aside: bool = False) -> None:
    """Write down what the folder is for, unless that is known and this is `aside`; one that holds something else is refused."""
    if out.exists() and not out.is_dir():
        raise LehrError(f"{out} is a file: give a folder for the study")
    known = (out / STUDY).is_file() or (out / FILE).is_file()
    if holds_something(out) and not known:
        raise LehrError(f"{out} holds something else than a study: give an empty or a new folder")
    if not (aside and is_study(out)):
        write_json(out / STUDY, study.model_dump(mode="json"))


def expected(study: Study, runs: Sequence[Run], cells: Sequence[Cell]) -> list[Run]:
    """The runs that there will be: seeds that do not choose run at one choice for each row.

    Where a row's choosing runs have not all ended, its first choice stands in for the one that will be made.
    """
    if study.choose_seeds is None:
        return list(runs)
    groups: dict[tuple[str, str, float], dict[tuple[float, str], list[Cell]]] = {}
    for cell in cells:
        if cell.seed in study.choose_seeds:
            groups.setdefault(cell.chooser, {}).setdefault((cell.lr, cell.choice), []).append(cell)
    choosing = [run for run in runs if run.seed in study.choose_seeds]
    ended = Counter(cell.chooser for group in groups.values() for own in group.values() for cell in own)
    planned = Counter(run.chooser for run in choosing)
    chosen = {
        row: best_choice(group, study.choose_seeds) for row, group in groups.items() if ended[row] == planned[row]
    }
    every = {run.name for run in choosing}
    kept = [
        run
        for run in runs
        if run.name in every or run.kind != study.kind or chosen.setdefault(run.chooser, _choice(run)) == _choice(run)
    ]
    parents = {run.parent for run in kept}
    return [run for run in kept if run.kind == study.kind or run.name in parents]


def _choice(run: Run) -> tuple[float, str]:
    cell = cells_of([run], {run.name: {"result": {}, "metrics": [], "seconds": None}}, Path())[0]
    return (cell.lr, cell.choice)


def _found(study: Study, runs: list[Run], records: dict[str, Record], out: Path) -> Findings:
    cells = cells_of(runs, records, out)
    runs = expected(study, runs, cells)
    where = [records[run.name]["environment"] for run in runs if run.name in records]
    if study.alike == "epochs":  # a part of a row's epochs is no row
        runs = [run for run in runs if run.kind == study.kind]
        cells = cells_of(runs, records, out)
    rows = summarise(cells, study.choose_seeds, against=study.against)
    return Findings(study, runs, cells, rows, _common(where))


def _common(environments: list[dict[str, str]]) -> dict[str, str]:
    """Where runs were measured: every value that was met."""
    names = dict.fromkeys(name for one in environments for name in one)
    return {name: ", ".join(sorted({one[name] for one in environments if name in one})) for name in names}


class _Board:
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
