"""`--rewind auto`: the earliest step from which training is stable to the order of its data."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from lehr.analysis.connectivity import STABLE
from lehr.base.errors import LehrError
from lehr.base.files import write_json
from lehr.base.steps import parse_length, spelled
from lehr.recipes.parent import load_data
from lehr.runs import TrainSettings, validated
from lehr.study.between import barrier_between
from lehr.study.board import ALONE, Workers
from lehr.study.check import check
from lehr.study.compare import default_folder
from lehr.study.copies import AGAIN, ORDER, dense_copies
from lehr.study.definition import Study
from lehr.study.file import study_of
from lehr.study.folder import as_begun
from lehr.study.kinds import divided, kinds
from lehr.study.plan import plan
from lehr.study.run import run_study
from lehr.study.ticket import REWIND, tickets
from lehr.training.averaging import BN_BATCHES
from lehr.training.span import steps_per_epoch

MENU = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # of all steps
POINTS = 11
FILE = "rewind.json"
AUTO = "auto"


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
    as_before: bool = False,
    **settings: Any,
) -> Rewound:
    """The study of `lehr.study.ticket.tickets` for a step that is named, or for the `earliest` one that is stable.

    Args:
        rewind: a step, or ``auto``.
        out: its folder; None for the usual one.
        branches, seeds, mode, rounds: of the tickets.
        workers, show: as in `run_study`.
        as_before: with the threads that the folder was begun with, see `as_begun`.
        settings: any others, as in a study file of tickets.

    Raises:
        LehrError: as `tickets` and `earliest` do.
    """

    def study(step: str, kept: Sequence[str]) -> Study:
        return tickets(rewind=step, branches=kept, seeds=seeds, mode=mode, rounds=rounds, **settings)

    if rewind != AUTO:
        return Rewound(study(rewind, branches), out)
    length = _length(settings)
    elsewhere = {length(step) for branch in branches if (step := _step(branch))}
    free = next(f"{n}it" for n in count(1) if n not in elsewhere)
    check(plan(study(free, branches)))  # what can be refused is, before anything is trained
    plain = study("0", [branch for branch in branches if _step(branch) is None])
    out = out or default_folder(plain)
    if as_before and (threads := as_begun(plain, out).grids[0].get("threads")):
        settings["threads"] = threads
    step, probes = earliest(out, seeds=seeds, workers=workers, show=show, **settings)
    same = tuple(branch for branch in branches if (to := _step(branch)) and length(to) == length(step))
    return Rewound(study(step, [branch for branch in branches if branch not in same]), out, step, tuple(probes), same)


def _length(settings: Mapping[str, Any]) -> Callable[[str], int]:
    """How many steps a length is on the dense network's schedule; ``1`` is all of them."""
    _, dense = divided(kinds["ticket"], {"threads": 1, **settings})
    wanted = validated(TrainSettings, dense)
    per_epoch = steps_per_epoch(wanted, load_data(wanted))
    return partial(parse_length, steps_per_epoch=per_epoch, total=wanted.epochs * per_epoch)


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
    values = {**settings, "kind": "ticket", "seed": list(range(seeds))}
    total = _length(settings)("1")
    menu = list(dict.fromkeys(round(share * total) for share in MENU))
    steps = [f"{step}it" if step else "0" for step in menu]
    known: dict[int, float] = {}

    def barrier(step: int) -> float:
        start = f"{step}it" if step else "0"
        grids = dense_copies(start, seeds)
        study = study_of({**values, "grids": grids, "against": ORDER, "keep": steps}, f"from step {start} on")
        found = run_study(study, out, workers=workers, show=show, aside=True)
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
    start = steps[high] if high < len(menu) else None
    write_json(out / FILE, {"start": start, "limit": STABLE, "probes": [asdict(probe) for probe in probes]})
    if start is None:
        raise LehrError(
            f"from step {menu[-1]} on, a fifth of training, two orders of the data still end {100 * known[menu[-1]]:.1f} points apart: "
            "train longer or at a lower rate, or name the step"
        )
    return start, probes
