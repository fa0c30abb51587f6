"""`--rewind auto`: the earliest step from which training is stable to the order of its data."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from lehr.analysis.connectivity import STABLE
from lehr.base.errors import LehrError
from lehr.base.files import write_json
from lehr.base.steps import spelled
from lehr.recipes.parent import load_data
from lehr.runs import TrainSettings, validated
from lehr.study.between import barrier_between
from lehr.study.compare import default_folder
from lehr.study.copies import AGAIN, ORDER, dense_copies
from lehr.study.definition import Study
from lehr.study.file import study_of
from lehr.study.kinds import divided, kinds
from lehr.study.run import Workers, run_study
from lehr.study.ticket import REWIND, tickets
from lehr.training.averaging import BN_BATCHES
from lehr.training.span import steps_per_epoch

MENU = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # of all steps
POINTS = 11
FILE = "rewind.json"
AUTO = "auto"
ALONE = Workers()


@dataclass(frozen=True)
class Instability:
    """The dense network from one step on: the mean barrier of the validation error between two orders of its data."""

    start: str
    barrier: float


@dataclass(frozen=True)
class Rewound:
    """A study of tickets and its folder; where the step was sought, that, what was tried, and branches that go back to it and are the ticket."""

    study: Study
    out: Path | None
    step: str = ""
    probes: tuple[Instability, ...] = ()
    same: tuple[str, ...] = ()


def rewound(
    rewind: str,
    out: Path | None,
    *,
    branches: Sequence[str],
    seeds: int,
    workers: Workers = ALONE,
    show: bool = False,
    mode: str = "weights",
    rounds: int,
    **settings: Any,
) -> Rewound:
    """The study of `lehr.study.ticket.tickets` for a step that is named, or for the `earliest` one that is stable.

    Args:
        rewind: a step, or ``auto``.
        out: its folder; None for the usual one.
        branches, seeds, mode, rounds: of the tickets.
        workers, show: as in `run_study`.
        settings: any others, as in a study file of tickets.

    Raises:
        LehrError: as `tickets` and `earliest` do.
    """

    def study(step: str, kept: Sequence[str]) -> Study:
        return tickets(rewind=step, branches=kept, seeds=seeds, mode=mode, rounds=rounds, **settings)

    if rewind != AUTO:
        return Rewound(study(rewind, branches), out)
    free = next(step for n in count(1) if (step := f"{n}it") not in map(_step, branches))
    study(free, branches)  # what can be refused is, before anything is trained
    out = out or default_folder(study("0", [branch for branch in branches if _step(branch) is None]))
    step, probes = earliest(out, seeds=seeds, workers=workers, show=show, **settings)
    same = tuple(branch for branch in branches if _step(branch) == step)
    return Rewound(study(step, [branch for branch in branches if branch not in same]), out, step, tuple(probes), same)


def _step(branch: str) -> str | None:
    """Where a branch goes back to; None where it goes with the levels."""
    return spelled(branch.removeprefix(REWIND)) if branch.startswith(REWIND) else None


def earliest(
    out: Path, *, seeds: int = 1, workers: Workers = ALONE, show: bool = False, **settings: Any
) -> tuple[str, list[Instability]]:
    """The earliest step of a menu, 0 to a fifth of training, from which two orders of the data are connected (1912.05671).

    Bisection, as the barrier falls with the step: of two neighbours on the menu one was found to be above 2 % and the other below. The
    copies are of the dense network: no mask is known before the step is. They are judged on the validation set.

    Args:
        out: folder of the study of tickets that the step is for; what is trained here is of use to it.
        seeds: how many the barrier is averaged over.
        workers, show: as in `run_study`.
        settings: as in a study file of tickets.

    Returns:
        the step, and all that were tried.

    Raises:
        LehrError: no step of the menu is stable.
    """
    kind = kinds["ticket"]
    values = {**settings, "kind": "ticket", "seed": list(range(seeds))}
    _, dense = divided(kind, {"threads": 1, **settings})
    wanted = validated(TrainSettings, dense)
    total = wanted.epochs * steps_per_epoch(wanted, load_data(wanted))
    menu = list(dict.fromkeys(round(share * total) for share in MENU))
    known: dict[int, float] = {}

    def barrier(step: int) -> float:
        start = f"{step}it" if step else "0"
        study = study_of({**values, "grids": dense_copies(start, seeds), "against": ORDER}, f"from step {start} on")
        found = run_study(study, out, workers=workers, show=show)
        found.check_whole()
        whole = {run.folder for run in found.runs if run.kind == "train"}
        cells = {(cell.label, cell.seed): cell.path for cell in found.cells}
        cells |= {("whole", cell.seed): cell.path for cell in found.cells if Path(cell.path).name in whole}
        first = AGAIN if step else "whole"
        known[step] = statistics.fmean(
            barrier_between(
                cells[first, seed], cells[ORDER, seed], out, part="validation", points=POINTS, bn_batches=BN_BATCHES
            )
            for seed in range(seeds)
        )
        return known[step]

    low, high = -1, len(menu)  # menu[low] is unstable, menu[high] is stable
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if barrier(menu[middle]) < STABLE else (middle, high)
    probes = [Instability(f"{step}it" if step else "0", known[step]) for step in sorted(known)]
    if high == len(menu):
        raise LehrError(
            f"from step {menu[-1]} on, a fifth of training, two orders of the data still end {100 * known[menu[-1]]:.1f} points apart: "
            "train longer or at a lower rate, or name the step"
        )
    start = f"{menu[high]}it" if menu[high] else "0"
    write_json(out / FILE, {"start": start, "limit": STABLE, "probes": [asdict(probe) for probe in probes]})
    return start, probes
