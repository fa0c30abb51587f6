"""A run of a study and those that it starts from, out of one point of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lehr.base.errors import LehrError, require
from lehr.recipes.parent import DATA
from lehr.runs.settings import UNTOLD
from lehr.study.definition import Run
from lehr.study.kinds import Key, Kind, divided, lineage, resolve, settings_of
from lehr.study.labels import usual


@dataclass(frozen=True)
class Draft:
    """A run before it has its place in the tables: its settings and those of its ancestors, and which of them were given."""

    run: Run
    flat: dict[Key, Any]
    given: frozenset[Key]
    written: str = ""
    terms: str = ""
    named: str = ""  # by the file


def chain(kind: Kind, values: dict[str, Any], after: dict[str, Any], alike: str, named: str) -> list[Draft]:
    """A run and those that it starts from, first things first.

    Args:
        kind: of the run.
        values: one point of a grid.
        after: settings in which the runs before it differ from it.
        alike: what rows must have alike to be compared, see `Study`.
        named: what the file calls its row.

    Raises:
        LehrError: a setting does not exist, or its value is wrong.
    """
    given = {key for name in values for key in resolve(kind, name)}
    flat: dict[Key, Any] = {}
    result: list[Draft] = []
    parent, seed, written = None, 0, ""
    last, *_ = divided(kind, {"threads": 1, **values})
    before = divided(kind, {"threads": 1, **values, **after})
    for one, part in steps(kind, last, before):
        written = str(part.get("method", ""))
        read = one.read(part)
        settings = settings_of(one, read, parent or "")
        if not settings.threads:
            raise LehrError("threads is 0: name the number of threads of a run, which its bits depend on")
        seed = seed if result else settings.seed  # of the first run of the chain
        flat = flat | {(one.name, name): getattr(settings, name) for name in one.own}
        folder = f"{one.title(settings)}-seed{settings.seed}-{settings.digest}"
        run = Run(settings.digest, one.name, settings, parent, folder, seed=seed)
        used = frozenset(key for key in given if key[0] == one.name and key[1] in read)
        terms = _terms(one, flat, alike)
        passing = one.levels is not None and any(
            part.get(name) != last.get(name) for name in {*part, *last} - {one.levels}
        )
        result.append(Draft(run, flat, used, written, terms, "" if passing else named))
        parent = run.name
    return result


def steps(kind: Kind, last: dict[str, Any], before: list[dict[str, Any]]) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """The runs of a chain, first things first: one of every kind in the lineage, or one a level.

    Args:
        kind: of the last run.
        last: its settings.
        before: what the settings of a chain would be whose last run differed from those before it in `Kind.once` alone.
    """
    for one, part in reversed(list(zip(lineage(kind), before, strict=True))):
        level = last.get(one.levels) if one is kind and one.levels is not None else None
        if one.levels is not None and type(level) is int:
            for number in range(1, level):
                yield one, {name: value for name, value in part.items() if name not in one.once} | {one.levels: number}
        yield one, last if one is kind else part


def _terms(kind: Kind, flat: dict[Key, Any], alike: str) -> str:
    """What two rows must have alike to be compared."""
    if alike == "parents":
        return repr(
            sorted(
                (key, repr(v)) for key, v in flat.items() if key[1] not in kind.free and key[1] not in ("seed", *UNTOLD)
            )
        )
    for (holder, name), value in flat.items():
        if name in ("start", "stop"):
            require(
                value == usual(holder, name), f"{name} is {value}, and alike: epochs counts whole runs: leave one out"
            )
    common = {name: repr(flat[kind.name, name]) for name in (*DATA, "batch_size") if (kind.name, name) in flat}
    return repr((sorted(common.items()), sum(v for (_, name), v in flat.items() if name == "epochs")))


def keys(names: Iterable[str], kind: Kind) -> set[Key]:
    """What names in `choose` or `panels` mean."""
    found = {name: resolve(kind, name) for name in names}
    for name, keys in found.items():
        if keys[0][1] in ("sparsity", "seed"):
            raise LehrError(f"choose and panels may not name {name}: rows are told apart by it, or averaged over it")
    return {key for keys in found.values() for key in keys}
