"""`stability`: how far apart copies of a ticket end up, beside those of a random mask and of the dense network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lehr.analysis.stability import Distance
from lehr.base.errors import LehrError, require
from lehr.base.steps import in_order, spelled
from lehr.report.cells import Cell
from lehr.study.copies import AGAIN, ORDER, barrier_between, dense_copies, distance_between
from lehr.study.definition import Study
from lehr.study.run import Findings
from lehr.study.ticket import NAME, tickets
from lehr.training.averaging import BN_BATCHES

BRANCHES = ("order", "shuffle", "shuffle-order")
"""What has to be trained beside the ticket, as branches of `lehr.study.ticket.tickets`."""

COPIES = ("order", "shuffle-order")  # a level without either has no stability, whatever its controls
POINTS = 11  # on the line between two copies
PAIRS = (("ticket", NAME, "order"), ("random", "shuffle", "shuffle-order"))
NEEDED = tuple(label for _, *pair in PAIRS for label in pair)
FIRST = Study.model_fields["panels"].default


@dataclass(frozen=True)
class Stability:
    """Of the networks of one level, rewound to one step; a value for every seed.

    Args:
        start: the step that they were rewound to.
        mask: ``dense``, ``ticket`` or ``random``.
        density: weights left over all that can be pruned.
        accuracy: on the test set, in [0, 1].
        pruning: L2 distance and angle, on the mask, between the dense network and the subnetwork, both trained from step k in one way and order; none
            for the dense network. From a later step than 0 the dense network is the one trained again from there: with a fresh optimizer, as the subnetwork is.
        order: between two copies, trained from step k in two orders.
        barrier: of the test error between those copies, in [0, 1]: their instability (1912.05671).
    """

    start: str
    mask: str
    density: float
    accuracy: tuple[float, ...]
    pruning: tuple[Distance, ...]
    order: tuple[Distance, ...]
    barrier: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def stability_study(*, rewind: Sequence[str], rounds: int, seeds: int = 1, **settings: Any) -> Study:
    """Tickets rewound to each of several steps, and all that their stability needs; arguments as `lehr.study.ticket.tickets` has them.

    Raises:
        LehrError: as `tickets` does, or a step is named twice.

    >>> study = stability_study(rewind=["0", "5it"], rounds=1, data="digits", model="lenet_300_100")
    >>> study.panels, len(study.grids)
    (('data', 'model', 'start'), 11)
    """
    rewind = [spelled(step) for step in rewind]
    require(len(rewind) > 0, "rewind names no step: give 0, 500it, 2ep or 1ep100it")
    require(len(set(rewind)) == len(rewind), f"the steps are {', '.join(rewind)}: name each once")
    grids: list[dict[str, Any]] = []
    for start in rewind:
        one = tickets(rewind=start, rounds=rounds, branches=BRANCHES, seeds=seeds, **settings)
        common = {name: value for name, value in one.grids[0].items() if name not in ("row", "level")}
        grids += [*one.grids, *({**common, **grid} for grid in dense_copies(start, seeds))]
    return one.model_copy(update={"grids": tuple(grids), "panels": (*FIRST, "start")})


def _lost(found: Findings) -> dict[tuple[str, float | None], Cell]:
    """What has no stability because a run failed, and that run: levels by step and sparsity, the dense copies of a step (0), all of a step (None).

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


def stability(found: Findings, out: Path, *, points: int = POINTS, bn_batches: int = BN_BATCHES) -> list[Stability]:
    """Both stabilities of 1903.01611 (section 4) and the instability of 1912.05671 at every level of which a study has copies.

    The random masks have as many weights in every layer as the tickets.

    Args:
        found: of a `stability_study`, or of one with those branches of some levels, `shuffle-order` and `order` in the same order of the data.
        out: its folder.
        points: places on the line between two copies, its ends among them.
        bn_batches: for batch-norm's statistics at each place; 0 mixes those of the ends.

    Levels of which a run failed are left out, see `left_out`.

    Raises:
        LehrError: a dense run failed, or a run's weights were not kept and it was not measured while they were, or the study has no copies, or not all of those of a level,
            or several networks of one step, level and seed.
    """
    lost = _lost(found)
    runs = {run.folder: run for run in found.runs}
    cells: dict[tuple[str, str, float, int], Cell] = {}
    dense: dict[int, Cell] = {}
    for cell in found.cells:
        run = runs[Path(cell.path).name]
        start = spelled(run.settings.start)
        whole = run.kind == "train"
        gone = (start, None) in lost or (cell.label != AGAIN and (start, cell.sparsity) in lost)
        if gone and not whole:
            continue
        other = (
            dense.setdefault(cell.seed, cell)
            if whole
            else cells.setdefault((start, cell.label, cell.sparsity, cell.seed), cell)
        )
        if other.path != cell.path:
            raise LehrError(
                f"{'the dense network' if whole else cell.label} of seed {cell.seed} is there twice ({other.panel}; {cell.panel}): "
                "stability is of one network, give a study whose only other panel is start"
            )

    def one(start: str, mask: str, sparsity: float, first: dict[int, Cell], second: dict[int, Cell]) -> Stability:
        if not first or set(first) != set(second):
            raise LehrError(
                f"the study lacks a copy of the {mask} at {100 * sparsity:.3g} % rewound to {start}: train {', '.join(BRANCHES)}"
            )
        wholes = dense if start == "0" else seeds_of(start, AGAIN, 0.0)
        if not set(first) <= set(wholes):
            raise LehrError(
                f"the study lacks the dense network of each seed, trained again from {start}: add a row {AGAIN!r} of level 0"
            )
        pairs = [(wholes[seed], first[seed], second[seed]) for seed in sorted(first)]
        return Stability(
            start, mask, 1.0 - sparsity,
            tuple(float(a.result["test"]["accuracy"]) for _, a, _ in pairs),
            tuple(distance_between(whole.path, a.path, a.path, out) for whole, a, _ in pairs) if sparsity else (),
            tuple(distance_between(a.path, b.path, (a if sparsity else b).path, out) for _, a, b in pairs),
            tuple(barrier_between(a.path, b.path, out, part="test", points=points, bn_batches=bn_batches) for _, a, b in pairs),
        )  # fmt: skip

    def seeds_of(start: str, label: str, sparsity: float) -> dict[int, Cell]:
        return {seed: cell for (*place, seed), cell in cells.items() if place == [start, label, sparsity]}

    rows = []
    for start in sorted({start for start, *_ in cells}, key=in_order):
        if copies := seeds_of(start, ORDER, 0.0):
            first = seeds_of(start, AGAIN, 0.0) or (dense if start == "0" else {})
            rows.append(one(start, "dense", 0.0, first, copies))
        for sparsity in sorted({own for at, label, own, _ in cells if at == start and label in COPIES}):
            rows += [
                one(start, mask, sparsity, seeds_of(start, a, sparsity), seeds_of(start, b, sparsity))
                for mask, a, b in PAIRS
            ]
    if not rows:
        found.check_whole()
        raise LehrError(f"the study in {out} has no copies of a ticket: train {', '.join(BRANCHES)}")
    return rows
