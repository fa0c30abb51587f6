"""Copies of one network that differ in one thing: who is a copy of whom among the runs of a study of tickets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError
from lehr.base.steps import in_order, spelled
from lehr.report.cells import Cell
from lehr.study.run import Findings
from lehr.study.ticket import NAME, OTHER

AGAIN, ORDER = "dense, again", "dense, order"  # what the rows of the dense copies are called
BRANCHES = ("order", "shuffle", "shuffle-order")
"""What has to be trained beside the ticket, as branches of `lehr.study.ticket.tickets`."""

PAIRS = {"ticket": (NAME, "order"), "random": ("shuffle", "shuffle-order")}
"""The rows of a subnetwork and of its copy in another order of the data, by what the subnetwork is."""

BySeed = dict[int, Cell]


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
    """The runs of a study by the step k that they go back to, their row, their sparsity and their seed; made by `copies_of`."""

    dense: BySeed
    cells: dict[tuple[str, str, float], BySeed]

    @property
    def starts(self) -> list[str]:
        """The steps, in order."""
        return sorted({start for start, _, _ in self.cells}, key=in_order)

    def levels(self, start: str) -> list[float]:
        """The sparsities of which there are copies in two orders: one without has no stability, whatever its controls."""
        seconds = {second for _, second in PAIRS.values()}
        return sorted({sparsity for at, label, sparsity in self.cells if at == start and label in seconds})

    def of(self, start: str, label: str, sparsity: float) -> BySeed:
        """The runs of one row and level."""
        return self.cells.get((start, label, sparsity), {})

    def whole(self, start: str) -> BySeed:
        """The dense network from step k on, as subnetworks are trained from there: from a later step than 0 with a fresh optimizer."""
        return self.dense if start == "0" else self.of(start, AGAIN, 0.0)


def copies_of(found: Findings) -> Copies:
    """The runs of a study by what they are copies of, without what is left out because a run failed.

    Raises:
        LehrError: a dense run failed, or several networks are of one step, level and seed.
    """
    gone = _lost(found)
    runs = {run.folder: run for run in found.runs}
    dense: BySeed = {}
    cells: dict[tuple[str, str, float], BySeed] = {}
    for cell in found.cells:
        run = runs[Path(cell.path).name]
        start = spelled(run.settings.start)
        if run.kind == "train":
            other = dense.setdefault(cell.seed, cell)
        elif (start, None) in gone or (cell.label != AGAIN and (start, cell.sparsity) in gone):
            continue
        else:
            other = cells.setdefault((start, cell.label, cell.sparsity), {}).setdefault(cell.seed, cell)
        if other.path != cell.path:
            raise LehrError(
                f"{'the dense network' if run.kind == 'train' else cell.label} of seed {cell.seed} is there twice ({other.panel}; {cell.panel}): "
                "stability is of one network, give a study whose only other panel is start"
            )
    return Copies(dense, cells)


def left_out(found: Findings) -> list[str]:
    """A sentence for all that has no stability because a run failed."""
    told = []
    for (start, sparsity), cell in _lost(found).items():
        what = (
            f"everything rewound to {start}" if sparsity is None
            else f"{100 * (1 - sparsity):.3g} % rewound to {start}" if sparsity
            else f"the dense network from {start} on"
        )  # fmt: skip
        told.append(f"{what} is left out: {cell.label}, seed {cell.seed}, failed: {cell.result['failed']}")
    return told


def _lost(found: Findings) -> dict[tuple[str, float | None], Cell]:
    """What a run that failed takes with it, and that run: levels by step and sparsity, the dense copies of a step (0), all of a step (None).

    Raises:
        LehrError: a dense run failed, which everything is measured against.
    """
    runs = {run.folder: run for run in found.runs}
    needed = {label for pair in PAIRS.values() for label in pair}
    lost: dict[tuple[str, float | None], Cell] = {}
    for cell in found.failures:
        run = runs[Path(cell.path).name]
        if run.kind == "train":
            raise LehrError(f"the dense run of seed {cell.seed} failed, because: {cell.result['failed']}")
        if cell.label in (*needed, ORDER, AGAIN):
            lost.setdefault((spelled(run.settings.start), None if cell.label == AGAIN else cell.sparsity), cell)
    return lost
