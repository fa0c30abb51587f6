"""`study run`: everything that is missing of a study, and its results."""

from __future__ import annotations

from pathlib import Path

from lehr.base.errors import Interrupted
from lehr.runs import RunFolder
from lehr.study.board import ALONE, Board, Workers
from lehr.study.check import check
from lehr.study.choice import expected
from lehr.study.definition import Run, Study
from lehr.study.estimate import Estimate, estimate
from lehr.study.findings import Findings, findings_of
from lehr.study.folder import begin
from lehr.study.plan import plan
from lehr.study.results import cells_of, gather, read_results
from lehr.training.interrupt import stop_on_signal


def run_study(
    study: Study, out: str | Path, *, workers: Workers = ALONE, show: bool = False, aside: bool = False
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
    board = Board(study, runs, out, records)
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
    return findings_of(study, runs, board.records, out)


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
