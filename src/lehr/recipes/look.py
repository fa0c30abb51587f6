"""What a folder holds, for `lehr show`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError
from lehr.base.files import read_json
from lehr.masks import Mask
from lehr.report.summary import Row
from lehr.runs import RunFolder


@dataclass(frozen=True)
class Look:
    """Settings, result (None while the run goes on), mask (None for a dense one), rows of a comparison."""

    settings: dict[str, Any]
    result: dict[str, Any] | None
    mask: Mask | None
    epochs: int = 0
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what was noticed


def look(path: Path) -> Look | Mask:
    """Read a run folder, the folder of a comparison, or a mask file."""
    if path.is_file():
        return Mask.load(path)
    if not path.is_dir():
        raise LehrError(f"there is no {path}: give the folder of a run or of a comparison, or a mask file")
    if (path / "compare.json").is_file():
        results = path / "results.json"
        if not results.is_file():
            raise LehrError(f"the comparison in {path} has not ended: start the same command again to go on")
        value = read_json(results)
        try:
            rows = [Row.from_dict(row) for row in value["rows"]]
            return Look(value["settings"], None, None, rows=rows, notes=list(map(str, value.get("notes", []))))
        except (KeyError, TypeError, AttributeError, ValueError):
            raise LehrError(f"{results} is damaged: it has not the rows of a comparison") from None
    folder = RunFolder(path)
    settings = folder.settings().model_dump()
    result = folder.result() if folder.done else None
    mask = Mask.load(folder.mask) if folder.mask.is_file() else None
    notes = [] if result is None else result.get("notes", [])
    return Look(settings, result, mask, epochs=len(folder.metrics()), notes=notes)
