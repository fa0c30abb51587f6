"""Where a run starts from: another run's folder, or a file of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from lehr import data as datasets
from lehr.base.errors import LehrError, require
from lehr.data import Dataset
from lehr.runs import RunFolder, Settings
from lehr.runs.digest import weights_digest
from lehr.runs.weights import read_weights

# What a run has from the run that it starts from, unless told otherwise.
DATA = ("data", "model", "limit", "image_size", "augment", "context")
INHERITED = (*DATA, "batch_size", "optimizer", "momentum", "weight_decay", "precision")


def parent_weights(parent: str | Path) -> dict[str, Tensor]:
    """The tensors of a finished run, or of a file."""
    path = Path(parent)
    if path.is_file():
        return read_weights(path)
    return RunFolder(path).weights()


def parent_settings(parent: str | Path) -> Settings | None:
    """The settings of the parent; None for a file, which has none."""
    path = Path(parent)
    if path.is_file():
        return None
    if path.suffix and not path.exists():
        raise LehrError(f"there is no file {path}: give the folder of a run or a file of weights")
    return RunFolder(path).settings()


def ancestors(run: str) -> list[str]:
    """The folder of a run and of those that it comes from; in a study that was moved they lie beside it.

    Raises:
        LehrError: one of them is not there.
    """
    found, settings = [str(Path(run).absolute())], parent_settings(run)
    while isinstance(settings, Settings) and settings.parent is not None and not Path(settings.parent).is_file():
        there = Path(settings.parent)
        if not there.is_dir():
            there = Path(found[-1]).parent / there.name
        lost = not there.is_dir() or str(there.absolute()) in found
        require(not lost, f"{found[-1]} comes from {settings.parent}, which is not there: move it back")
        found.append(str(there.absolute()))
        settings = parent_settings(there)
    return found


def inherit(parent: str | Path, values: dict[str, Any]) -> dict[str, Any]:
    """Settings for a run from this parent: the parent's own unless `values` say otherwise (None does not)."""
    base = parent_settings(parent)
    given = {name: value for name, value in values.items() if value is not None}
    inherited = {name: getattr(base, name) for name in INHERITED} if base is not None else {}
    for name in ("data", "model"):
        if base is None and name not in given:
            raise LehrError(f"{parent} is a file of weights, so --{name} must be given")
    return {**inherited, **given, "parent": str(parent), "parent_digest": weights_digest(parent_weights(parent))}


def load_data(settings: Settings) -> Dataset:
    """The data set that the settings name."""
    return datasets.load(
        settings.data,
        settings.limit,
        image_size=settings.image_size,
        augment=settings.augment,
        context=settings.context,
    )
