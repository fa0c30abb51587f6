"""Copies of one network that differ in one thing: who is a copy of whom among the runs of a study of tickets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError
from lehr.base.steps import in_order, parse_length, spelled
from lehr.report.cells import Cell
from lehr.runs import TicketSettings
from lehr.study.definition import Run
from lehr.study.findings import Findings
from lehr.study.ticket import NAME, OTHER

AGAIN, ORDER = "dense, again", "dense, order"  # what the rows of the dense copies are called
WHOLE = "dense"  # the dense run itself
BRANCHES = ("order", "shuffle", "shuffle-order")
"""What has to be trained beside the ticket, as branches of `lehr.study.ticket.tickets`."""

PAIRS = {"ticket": (NAME, "order"), "random": ("shuffle", "shuffle-order")}
"""The rows of a subnetwork and of its copy in another order of the data, by what the subnetwork is."""

NEEDED = {label for pair in PAIRS.values() for label in pair}

BySeed = dict[int, Cell]
Place = tuple[str, str, float]  # the step k that a run goes back to, its row, its sparsity


def dense_copies(start: str, seeds: int) -> list[dict[str, Any]]:
    """The grids of two copies of the dense network from step k on, in two orders of the data.

    From step 0 on the dense run itself is one of them.

    >>> [grid["row"] for grid in dense_copies("0", 1)], len(dense_copies("500it", 2))
    (['dense, order'], 3)
    """
    own = {"level": 0, "start": start}
    again = [] if start == "0" else [{**own, "row": AGAIN}]
    return again + [{**own, "row": ORDER, "seed": seed, "ticket_order": OTHER + seed} for seed in range(seeds)]


@dataclass(frozen=True)
class Copies:
    """The runs of a study by their place and seed, those that have ended and the seeds of all; made by `copies_of`."""

    cells: dict[Place, BySeed]
    planned: dict[Place, set[int]]
    order: Callable[[str], Any] = in_order

    @property
    def starts(self) -> list[str]:
        """The steps, in order."""
        return sorted({start for start, label, _ in self.planned if label != WHOLE}, key=self.order)

    def subnetworks(self, start: str) -> list[tuple[str, float]]:
        """What there are copies of in two orders, as `trios` takes it: a level without has no stability, whatever its controls."""
        whole = [("dense", 0.0)] if (start, ORDER, 0.0) in self.planned else []
        return whole + [(mask, sparsity) for sparsity in self._levels(start) for mask in PAIRS]

    def _levels(self, start: str) -> list[float]:
        seconds = {second for _, second in PAIRS.values()}
        return sorted({sparsity for at, label, sparsity in self.planned if at == start and label in seconds})

    def trios(self, start: str, mask: str, sparsity: float) -> list[tuple[Cell, Cell, Cell]]:
        """Of every seed whose three runs have ended: the dense network from step k on, the subnetwork, and its copy in another order.

        The dense network is the one that is trained as the subnetwork is: from a later step than 0 with a fresh optimizer. It is its own subnetwork.

        Raises:
            LehrError: the study has no such runs.
        """
        whole, first, second = self.places(start, mask, sparsity)
        seeds = self.planned.get(first, set())
        if not seeds or seeds != self.planned.get(second, set()):
            raise LehrError(
                f"the study lacks a copy of the {mask} at {100 * sparsity:.3g} % rewound to {start}: train {', '.join(BRANCHES)}"
            )
        if not seeds <= self.planned.get(whole, set()):
            raise LehrError(
                f"the study lacks the dense network of each seed, trained again from {start}: use lehr stability without a folder, "
                f"or add a row {AGAIN!r} of level 0 to its file"
            )
        one, two, three = (self.cells.get(place, {}) for place in (whole, first, second))
        return [(one[seed], two[seed], three[seed]) for seed in sorted(one.keys() & two.keys() & three.keys() & seeds)]

    def places(self, start: str, mask: str, sparsity: float) -> tuple[Place, Place, Place]:
        """Where the three runs of a trio are."""
        whole = (start, AGAIN, 0.0) if start != "0" else ("0", WHOLE, 0.0)
        first, second = PAIRS.get(mask, (whole[1], ORDER))
        return whole, (start, first, sparsity), (start, second, sparsity)


def copies_of(found: Findings) -> Copies:
    """The runs of a study by what they are copies of, without what is left out because a run failed.

    Raises:
        LehrError: a dense run failed, tickets are not reset to step k, or several networks are of one step, level and seed.
    """
    gone = _lost(found)
    runs = {run.folder: run for run in found.runs}
    planned: dict[Place, set[int]] = {}
    for run in runs.values():
        if isinstance(run.settings, TicketSettings) and run.label in NEEDED and run.settings.rewind != "weights":
            raise LehrError(
                f"{run.label} has rewind {run.settings.rewind}, and stability is of subnetworks that go back to the weights of step k: "
                "give a study of those"
            )
        start, label, sparsity = place = _place(run)
        if (start, None) not in gone and (label in (AGAIN, WHOLE) or (start, sparsity) not in gone):
            planned.setdefault(place, set()).add(run.seed)
    cells: dict[Place, BySeed] = {}
    for cell in found.cells:
        run = runs[Path(cell.path).name]
        if (place := _place(run)) in planned:
            other = cells.setdefault(place, {}).setdefault(cell.seed, cell)
            if other.path != cell.path:
                raise LehrError(
                    f"{'the dense network' if run.kind == 'train' else cell.label} of seed {cell.seed} is there twice ({other.panel}; {cell.panel}): "
                    "stability is of one network, give a study whose only other panel is start"
                )
    return Copies(cells, planned, steps_in_order(found))


def steps_in_order(found: Findings) -> Callable[[str], Any]:
    """What steps k are sorted by: where they are, if a run tells how many steps an epoch has, else `lehr.base.steps.in_order`."""
    runs = {run.folder: run.settings for run in found.runs}
    for cell in found.cells:
        settings = runs.get(Path(cell.path).name)
        if settings is not None and settings.stop == "1" and cell.metrics and "step" in cell.metrics[-1]:
            total = int(cell.metrics[-1]["step"])
            return partial(parse_length, steps_per_epoch=total // settings.epochs, total=total)
    return in_order


def _place(run: Run) -> Place:
    return spelled(run.settings.start), WHOLE if run.kind == "train" else run.label, run.sparsity


def left_out(found: Findings) -> list[str]:
    """A sentence for all that has no stability because a run failed, or is not done yet."""
    told = []
    for (start, sparsity), cell in _lost(found).items():
        what = f"everything rewound to {start}" if sparsity is None else _level(start, sparsity)
        told.append(f"{what} is left out: {cell.label}, seed {cell.seed}, failed: {cell.result['failed']}")
    copies = copies_of(found)
    waiting: dict[tuple[str, int], dict[str, None]] = {}  # by level and seed the rows, each once
    for start in copies.starts:
        for mask, sparsity in copies.subnetworks(start):
            for place in copies.places(start, mask, sparsity):
                for seed in sorted(copies.planned.get(place, set()) - copies.cells.get(place, {}).keys()):
                    waiting.setdefault((_level(start, sparsity), seed), {})[place[1]] = None
    for (level, seed), rows in waiting.items():
        told.append(f"{level} is without seed {seed}: not done yet: {'; '.join(rows)}")
    return told


def _level(start: str, sparsity: float) -> str:
    return f"{100 * (1 - sparsity):.3g} % rewound to {start}" if sparsity else f"the dense network from {start} on"


def _lost(found: Findings) -> dict[tuple[str, float | None], Cell]:
    """What a run that failed takes with it, and that run: levels by step and sparsity, the dense copies of a step (0), all of a step (None).

    Raises:
        LehrError: a dense run failed, which everything is measured against.
    """
    runs = {run.folder: run for run in found.runs}
    lost: dict[tuple[str, float | None], Cell] = {}
    for cell in found.failures:
        run = runs[Path(cell.path).name]
        if run.kind == "train":
            raise LehrError(f"the dense run of seed {cell.seed} failed, because: {cell.result['failed']}")
        if cell.label in (*NEEDED, ORDER, AGAIN):
            lost.setdefault((spelled(run.settings.start), None if cell.label == AGAIN else cell.sparsity), cell)
    return lost
