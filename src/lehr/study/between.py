"""What lies between two runs of a study: measured once and kept, so that it outlives their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lehr.analysis.stability import Distance, distance
from lehr.base.errors import LehrError, require
from lehr.base.files import read_json, write_json
from lehr.masks import Mask
from lehr.recipes.connect import ConnectSettings, SplitName, connect
from lehr.runs import RunFolder, validated

FILE = "between.json"


def barrier_between(a: str, b: str, out: Path, *, part: SplitName, points: int, bn_batches: int) -> float:
    """The error barrier between two runs of a study, in [0, 1]; measured once and kept."""

    def measured() -> list[float]:
        wanted = validated(
            ConnectSettings, {"run": a, "other": b, "points": points, "bn_batches": bn_batches, "parts": (part,)}
        )
        return [connect(wanted)[part]["barrier"]]

    (barrier,) = _kept(out, (a, b), f"barrier {part} {points} {bn_batches}", measured, 1)
    return barrier


def distance_between(a: str, b: str, mask: str, out: Path) -> Distance:
    """The distance of two runs of a study on the mask of a third; measured once and kept."""

    def measured() -> list[float]:
        found = distance(RunFolder(a).weights(), RunFolder(b).weights(), Mask.load(RunFolder(mask).mask))
        return [found.l2, found.angle]

    return Distance(*_kept(out, (a, b, mask), "distance", measured, 2))


def _kept(out: Path, runs: tuple[str, ...], what: str, measured: Callable[[], list[float]], count: int) -> list[float]:
    """What was measured stays beside the study's results: it outlives the weights, which are not published with them."""
    file = out / FILE
    names = " ".join(RunFolder(run).path.name[-12:] for run in runs)  # hashes of their settings
    name, known = f"{names} {what}", _read(file)
    values: Any = known.get(name, [0.0] * count) if isinstance(known, dict) else None
    sound = isinstance(values, list) and len(values) == count and all(type(value) is float for value in values)
    require(sound, f"{file} is damaged: delete it, and what it held is measured again")
    if name not in known:
        try:
            values = measured()
        except LehrError:
            alike = f"{names} {' '.join(what.split()[:2])} "  # of the same part
            _check_weights(runs, out, [key.removeprefix(alike) for key in known if key.startswith(alike)])
            raise
        write_json(file, _read(file) | {name: values})  # read again: others measure too, and it took a while
    return list(values)


def _read(file: Path) -> Any:
    return read_json(file) if file.is_file() else {}


def _check_weights(runs: Iterable[str], out: Path, known: Iterable[str]) -> None:
    """Raise where there are none to measure, and say what was measured while there were."""
    for run in runs:
        if not RunFolder(run).model.is_file():
            kept = "; ".join("--points {} --bn-batches {}".format(*told.split()) for told in sorted(known))
            raise LehrError(
                f"the weights of {run} are gone, and this was not measured while they were there: "
                + (f"measured was {kept}; give those, or " if kept else "")
                + f"delete the folder and {out / 'results.parquet'}, and start the study again"
            )
