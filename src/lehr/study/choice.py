"""Which runs a study will have: all of the seeds that choose, and the others at what was chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lehr.report.cells import Cell, best_choice
from lehr.study.definition import Run, Study
from lehr.study.results import cells_of


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
