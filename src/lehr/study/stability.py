"""`stability`: how far apart copies of a ticket end up, beside those of a random mask."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lehr.analysis.stability import Distance, distance
from lehr.base.errors import LehrError
from lehr.masks import Mask
from lehr.report.summary import Cell
from lehr.runs import RunFolder
from lehr.study.run import Findings
from lehr.study.ticket import NAME

BRANCHES = ("order", "shuffle", "shuffle-order")
"""What has to be trained beside the ticket, as branches of `lehr.study.ticket.tickets`."""


@dataclass(frozen=True)
class Stability:
    """Of the tickets of one level, or of the random masks beside them; means over seeds.

    Args:
        mask: ``ticket`` or ``random``.
        density: weights left over all that can be pruned.
        accuracy: on the test set, in [0, 1].
        pruning: L2 distance and angle, on the mask, between the dense network and the subnetwork, trained from step k in one order.
        order: between two copies of the subnetwork, trained from step k in two orders.
        seeds: how many.
    """

    mask: str
    density: float
    accuracy: float
    pruning: Distance
    order: Distance
    seeds: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def stability(found: Findings) -> list[Stability]:
    """Both stabilities of 1903.01611 (section 4) at every level of a study of tickets with the branches `BRANCHES`.

    The random masks have as many weights in every layer as the tickets.

    Raises:
        LehrError: a branch is missing, or its weights were not kept.
    """
    if found.failures:
        worst = found.failures[0]
        raise LehrError(
            f"{len(found.failures)} runs failed, the first, {worst.label}, because: {worst.result['failed']}"
        )
    cells = {(cell.label, round(cell.sparsity, 9), cell.seed): cell for cell in found.cells if not cell.failed}
    dense = {cell.seed: cell for cell in found.cells if not cell.sparsity and not cell.failed}
    levels = sorted({sparsity for label, sparsity, _ in cells if label == NAME})
    seeds = sorted({seed for label, _, seed in cells if label == NAME})
    rows = []
    for sparsity in levels:
        for name, first, second in (("ticket", NAME, "order"), ("random", "shuffle", "shuffle-order")):
            measured: list[tuple[float, Distance, Distance]] = []
            for seed in seeds:
                own, other = cells.get((first, sparsity, seed)), cells.get((second, sparsity, seed))
                if own is None or other is None or seed not in dense:
                    raise LehrError(
                        f"the study lacks {first} or {second} at seed {seed}: train the branches {', '.join(BRANCHES)}"
                    )
                mask = Mask.load(RunFolder(own.path).mask)
                measured.append(
                    (own.result["test"]["accuracy"], _apart(dense[seed], own, mask), _apart(own, other, mask))
                )
            accuracies, pruning, order = zip(*measured, strict=True)
            rows.append(
                Stability(
                    name, 1.0 - sparsity, statistics.fmean(accuracies), _mean(pruning), _mean(order), len(measured)
                )
            )
    return rows


def _apart(a: Cell, b: Cell, mask: Mask) -> Distance:
    return distance(RunFolder(a.path).weights(), RunFolder(b.path).weights(), mask)


def _mean(distances: Sequence[Distance]) -> Distance:
    if not distances:
        return Distance(math.nan, math.nan)
    return Distance(statistics.fmean(d.l2 for d in distances), statistics.fmean(d.angle for d in distances))
