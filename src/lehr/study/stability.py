"""`stability`: how far apart copies of a ticket end up, beside those of a random mask and of the dense network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lehr.analysis.stability import Distance
from lehr.base.errors import LehrError, require
from lehr.base.steps import spelled
from lehr.study.between import barrier_between, distance_between
from lehr.study.copies import BRANCHES, copies_of, dense_copies
from lehr.study.definition import Study
from lehr.study.findings import Findings
from lehr.study.ticket import tickets
from lehr.training.averaging import BN_BATCHES

POINTS = 11  # on the line between two copies
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


def stability(found: Findings, out: Path, *, points: int = POINTS, bn_batches: int = BN_BATCHES) -> list[Stability]:
    """Both stabilities of 1903.01611 (section 4) and the instability of 1912.05671 at every level of which a study has copies.

    The random masks have as many weights in every layer as the tickets. Levels of which a run failed are left out, and seeds that are not done yet, see `lehr.study.copies.left_out`.

    Args:
        found: of a `stability_study`, or of one with those branches of some levels, `shuffle-order` and `order` in the same order of the data.
        out: its folder.
        points: places on the line between two copies, its ends among them.
        bn_batches: for batch-norm's statistics at each place; 0 mixes those of the ends.

    Raises:
        LehrError: a dense run failed, or a run's weights were not kept and it was not measured while they were, or the study has no copies, or not all of those of a level,
            or several networks of one step, level and seed.
    """
    copies = copies_of(found)
    rows = []
    for start in copies.starts:
        for mask, sparsity in copies.subnetworks(start):
            trios = copies.trios(start, mask, sparsity)
            if not trios:
                continue  # none is done yet
            paths = [(whole.path, one.path, other.path) for whole, one, other in trios]
            rows.append(
                Stability(
                    start, mask, 1.0 - sparsity,
                    tuple(float(one.result["test"]["accuracy"]) for _, one, _ in trios),
                    tuple(distance_between(whole, a, a, out) for whole, a, _ in paths) if sparsity else (),
                    tuple(distance_between(a, b, a if sparsity else b, out) for _, a, b in paths),
                    tuple(barrier_between(a, b, out, part="test", points=points, bn_batches=bn_batches) for _, a, b in paths),
                )
            )  # fmt: skip
    if not rows:
        found.check_whole()
        waiting = any(copies.subnetworks(start) for start in copies.starts)
        require(not waiting, f"no ticket in {out} is done yet together with its copies: go on with the study")
        raise LehrError(f"the study in {out} has no copies of a ticket: train {', '.join(BRANCHES)}")
    return rows
