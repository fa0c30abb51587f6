"""Copies of one network that saw their data in two orders, and the barrier between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lehr.base.files import read_json, write_json
from lehr.recipes.connect import ConnectSettings, Part, connect
from lehr.runs import RunFolder
from lehr.study.ticket import OTHER

AGAIN, ORDER = "dense, again", "dense, order"  # what these rows are called
FOLDER = "between"


def dense_copies(start: str, seeds: int) -> list[dict[str, Any]]:
    """The grids of two copies of the dense network from step k on, in two orders of the data.

    From step 0 on the dense run itself is one of them.

    >>> [grid["row"] for grid in dense_copies("0", 1)], len(dense_copies("500it", 2))
    (['dense, order'], 3)
    """
    own = {"level": 0, "start": start}
    again = [] if start == "0" else [{**own, "row": AGAIN}]
    return again + [{**own, "row": ORDER, "seed": seed, "ticket_order": OTHER + seed} for seed in range(seeds)]


def barrier_between(a: str, b: str, out: Path, *, part: Part, points: int, bn_batches: int) -> float:
    """The error barrier between two runs of a study, in [0, 1]; measured once and kept in a file below its folder."""
    name = f"{RunFolder(a).path.name[-12:]}-{RunFolder(b).path.name[-12:]}-{part}-{points}-{bn_batches}.json"
    file = out / FOLDER / name
    if not file.is_file():
        wanted = ConnectSettings(run=a, other=b, points=points, bn_batches=bn_batches, parts=(part,))
        write_json(file, {key: value for key, value in connect(wanted).items() if key == part})
    return float(read_json(file)[part]["barrier"])
