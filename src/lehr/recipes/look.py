"""What a folder holds, for `lehr show`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError
from lehr.base.files import read_json
from lehr.deploy.contents import mask_of
from lehr.masks import Mask
from lehr.runs import RunFolder
from lehr.runs.folder import FAILURE
from lehr.runtime.file import read


@dataclass(frozen=True)
class Look:
    """Settings, result (None while the run goes on), mask (None for a dense one)."""

    settings: dict[str, Any]
    result: dict[str, Any] | None
    mask: Mask | None
    epochs: int = 0
    size: int | None = None  # bytes of a packed file, whose settings are what it says about itself
    notes: list[str] = field(default_factory=list)  # what was noticed


def look(path: Path) -> Look | Mask:
    """Read a run folder, a ``.lehr`` file, or a mask file."""
    if path.is_file() and path.suffix == ".lehr":
        contents = read(path)
        size = path.stat().st_size
        return Look(dict(contents.about), None, mask_of(contents.tensors), size=size)
    if path.is_file():
        return Mask.load(path)
    if not path.is_dir():
        raise LehrError(f"there is no {path}: give the folder of a run or of a study, a .lehr file, or a mask file")
    folder = RunFolder(path)
    failure = path / FAILURE
    if failure.is_file() and not folder.done:
        value = read_json(failure)
        reason = str(value.get("reason", "")) if isinstance(value, dict) else ""
        settings = folder.settings().model_dump() if folder.settings_file.is_file() else {}
        return Look(settings, {"failed": reason}, None)
    settings = folder.settings().model_dump()
    result = folder.result() if folder.done else None
    mask = Mask.load(folder.mask) if folder.mask.is_file() else None
    notes = [] if result is None else result.get("notes", [])
    return Look(settings, result, mask, epochs=len(folder.metrics()), notes=notes)
