"""What a study has found: one row of ``results.parquet`` for each run, enough to make every table and plot again.

A row holds the run's name, its settings, its scores, its epochs and where it was measured. A folder
with this file and nothing else counts: its runs are done and are not done again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from lehr.base.environment import environment
from lehr.base.errors import LehrError, one_line
from lehr.base.files import read_json, write_beside
from lehr.report.cells import Cell
from lehr.runs import RunFolder
from lehr.runs.folder import is_result
from lehr.study.definition import Run, panels_of
from lehr.study.execute import state_of
from lehr.study.kinds import kinds

FILE = "results.parquet"
Record = dict[str, Any]
# Columns that are JSON because their values have no one type.
PACKED = ("settings", "result", "metrics", "environment")


def _is_result(value: dict[str, Any]) -> dict[str, Any]:
    if not is_result(value):
        raise ValueError("a row has not the values of a result")
    return value


class _Epoch(BaseModel):
    """What the plots read of an epoch; any more are numbers too."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    validation_accuracy: float | None
    expected_density: float | None = None


class _Checked(BaseModel):
    """What every row must have; scores in columns of their own are copies."""

    model_config = ConfigDict(strict=True)

    name: str
    kind: str
    parent: str | None
    folder: str
    status: str
    final: bool
    seconds: float | None
    settings: dict[str, Any]
    result: Annotated[dict[str, Any], AfterValidator(_is_result)]
    metrics: list[_Epoch]
    environment: dict[str, str]


def record_of(run: Run, path: Path, where: Mapping[str, str]) -> Record | None:
    """The row of a run whose folder says that it has ended; None for one that has not."""
    state = state_of(path)
    if state.status == "open":
        return None
    folder = RunFolder(path)
    result: dict[str, Any] = folder.result() if folder.done else {"failed": state.reason}
    timing = _object(folder.timing_file)
    settings = run.settings.model_dump(mode="json")
    for name in ("parent", "parent_digest"):
        settings.pop(name, None)
    scores = {
        f"{part}_{name}": result[part][name]
        for part in ("validation", "test")
        if part in result
        for name in ("accuracy", "nll", "bits_per_character")
        if name in result[part]
    }
    return {
        "name": run.name,
        "kind": run.kind,
        "parent": run.parent,
        "folder": run.folder,
        "status": state.status,
        "final": folder.done,
        **scores,
        "nonzeros": result.get("nonzeros"),
        "seconds": timing.get("seconds"),
        "settings": settings,
        "result": result,
        "metrics": folder.metrics(),
        "environment": timing.get("environment", dict(where)),
    }


def _object(path: Path) -> dict[str, Any]:
    """The object in a small file; empty where there is none."""
    value = read_json(path) if path.is_file() else {}
    return value if isinstance(value, dict) else {}


def gather(runs: Sequence[Run], out: Path, former: Mapping[str, Record]) -> dict[str, Record]:
    """The rows of all runs that have ended, from their folders, or from the file where there is no folder."""
    where = environment()
    found = dict(former)
    for run in runs:
        record = record_of(run, run.path(out), found[run.name]["environment"] if run.name in found else where)
        if record is not None:
            found[run.name] = record
    return found


def write_results(out: Path, records: Iterable[Record]) -> Path:
    """Write the file, beside and renamed; its rows in the order given."""
    rows = [{k: json.dumps(v) if k in PACKED else v for k, v in r.items()} for r in records]
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])
    return write_beside(
        out / FILE, lambda beside: pq.write_table(table, beside, compression="zstd", write_page_checksum=True)
    )


def read_results(out: Path) -> dict[str, Record]:
    """The rows of the file by name; none where there is no file.

    Raises:
        LehrError: the file is damaged, or not one of ours.
    """
    path = out / FILE
    if not path.is_file():
        return {}
    try:
        # Read once: another driver may put a new file in its place meanwhile.
        content = pa.BufferReader(path.read_bytes())
        rows = pq.read_table(content, page_checksum_verification=True).to_pylist()
        records = [{k: json.loads(v) if k in PACKED else v for k, v in row.items()} for row in rows]
        for record in records:
            _Checked.model_validate(record)
        return {record["name"]: record for record in records}
    except ValidationError as error:
        column = ".".join(map(str, error.errors()[0]["loc"]))
        raise LehrError(
            f"{path} is damaged (its column {column} is not what it should be): delete it, and start the study again to "
            "make it anew"
        ) from None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise LehrError(
            f"{path} is damaged ({one_line(error, 200)}): delete it, and start the study again to make it anew"
        ) from None


def cells_of(runs: Sequence[Run], records: Mapping[str, Record], out: Path) -> list[Cell]:
    """The runs that have ended, with their places in the tables."""
    panels = panels_of(runs)
    ended = [run for run in runs if run.name in records]
    return [_cell(run, records[run.name], panel, out) for run in ended for panel in panels[run.name]]


def _cell(run: Run, record: Record, panel: str, out: Path) -> Cell:
    settings = run.settings.model_dump(mode="json", exclude={"parent", "parent_digest"})
    prefix = f"{run.kind}_"
    own_rate = f"{prefix}lr" if kinds[run.kind].parent else "lr"  # which has a column
    return Cell(
        label=run.label,
        sparsity=run.sparsity,
        lr=run.settings.lr,
        seed=run.seed,
        path=str(run.path(out)),
        result=record["result"],
        metrics=record["metrics"],
        seconds=math.nan if record["seconds"] is None else float(record["seconds"]),
        panel=panel,
        choice=", ".join(f"{name.removeprefix(prefix)}={value}" for name, value in run.choice if name != own_rate),
        replicate=run.settings.seed,
        settings=settings,
        terms=run.terms,
        member=run.member if kinds[run.kind].member is not None else None,
        choosing=(panel, *run.chooser[1:]),
    )
