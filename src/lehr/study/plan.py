"""A study: grids of settings; and its plan: every run of them, named by the hash of its settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lehr.base.errors import LehrError, require, unknown
from lehr.recipes.method import DENSE
from lehr.recipes.parent import DATA
from lehr.report.summary import is_variant
from lehr.runs import Settings
from lehr.study.grid import points
from lehr.study.kinds import Key, Kind, divided, kinds, lineage, resolve, settings_of
from lehr.study.labels import row_label, told, usual, varied


class Study(BaseModel):
    """Grids of runs, and how they are compared.

    Each grid maps settings to values, lists being its axes. For every row of a table, validation
    chooses among the values of the axes `choose`, on the seeds `choose_seeds` (None for all); the other seeds are
    then run at the chosen values only. Rows are compared with those of the method `against`, where they have the same parent
    and the same terms; with ``alike: epochs`` those of the same data, network and batch whose epochs are as many in all, whatever they
    start from: parents are then not rows of their own. A grid with ``row`` has that for a name in the tables; ``after`` in
    a grid has the settings in which the runs before the last one of each chain differ from it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    kind: str = "tune"
    grids: tuple[dict[str, Any], ...] = Field(min_length=1)
    choose: tuple[str, ...] | None = None  # None is the learning rate of the kind
    choose_seeds: tuple[int, ...] | None = None
    panels: tuple[str, ...] = ("data", "model")  # settings that tell one table from another
    against: str = "one-shot"
    alike: Literal["parents", "epochs"] = "parents"
    keep_weights: bool = True  # of finished runs, but for parents, which are always kept

    @model_validator(mode="before")
    @classmethod
    def _texts(cls, values: Any) -> Any:
        if isinstance(values, dict):
            values = dict(values)
            for name in ("choose", "panels"):
                if isinstance(values.get(name), str):
                    values[name] = (values[name],)
            if type(values.get("choose_seeds")) is int:
                values["choose_seeds"] = (values["choose_seeds"],)
        return values

    @property
    def choices(self) -> tuple[str, ...]:
        """The axes that validation chooses along."""
        usual = (f"{self.kind}_lr" if kinds[self.kind].parent else "lr",)
        return usual if self.choose is None else self.choose

    @property
    def name(self) -> str:
        """For a folder."""
        words = "".join(c if c.isalnum() else "-" for c in self.title.lower())
        return "-".join(word for word in words.split("-") if word) or "study"


@dataclass(frozen=True)
class Run:
    """One run of a study.

    `name` is the hash of its settings and of those of the run `parent` that it starts from; `panel`,
    `label`, `sparsity` and `choice` say where it is in the tables.
    """

    name: str
    kind: str
    settings: Settings
    parent: str | None
    folder: str
    panel: str = ""
    label: str = ""
    sparsity: float = 0.0
    choice: tuple[tuple[str, Any], ...] = ()
    seed: int = 0
    terms: str = ""  # what two rows must have alike to be compared: everything but method and mask

    def path(self, out: Path) -> Path:
        """Its folder."""
        return out / "runs" / self.folder

    @property
    def member(self) -> int:
        """Which of the members of its ensemble it is; 0 where there is none."""
        name = kinds[self.kind].member
        return 0 if name is None else int(getattr(self.settings, name))

    @property
    def row(self) -> tuple[str, str, float]:
        """The row of a table that it belongs to."""
        return (self.panel, self.label, self.sparsity)

    @property
    def chooser(self) -> tuple[str, str, float]:
        """The rows that are of one choice: cycles that prune are members of one family at any sparsity."""
        chained = kinds[self.kind].member is not None and kinds[self.kind].levels is not None
        return (self.panel, self.label, 0.0) if chained else self.row


def plan(study: Study) -> list[Run]:
    """Every run of a study, once, with the runs that they start from; seeds in turn, parents before children.

    Raises:
        LehrError: a setting does not exist, is wrong, or is of no use; or two unlike runs would share a row.
    """
    kind = kinds[study.kind]
    hidden = {*_keys(study.choices, kind), *_keys(study.panels, kind), *((one.name, "seed") for one in lineage(kind))}
    hidden |= {(kind.name, "sparsity"), (kind.name, "method")}
    if kind.member is not None:
        hidden.add((kind.name, kind.member))
    if kind.levels is not None:
        hidden.add((kind.name, kind.levels))
        require(
            study.alike == "parents",
            f"alike is {study.alike}, and every level of a {kind.name} trains again: leave it out",
        )
    drafts: dict[str, _Draft] = {}
    idle: set[str] = {name for grid in study.grids for name in grid}
    for grid in study.grids:
        named = grid.get("row")
        if named is not None and (not isinstance(named, str) or not named.strip()):
            raise LehrError(f"row is {named!r}: give the row a name")
        after = grid.get("after", {})
        if not isinstance(after, dict) or any(isinstance(value, (list, dict)) for value in after.values()):
            raise LehrError(f"after is {after!r}: map settings of the runs before to one value each")
        idle -= {"row", "after"}
        for values in points({name: value for name, value in grid.items() if name not in ("row", "after")}):
            for draft in _chain(kind, values, after, study.alike, named or ""):
                known = drafts.setdefault(draft.run.name, draft)
                if draft.named and not known.named:  # a level on the way of another row
                    drafts[draft.run.name] = replace(known, named=draft.named)
                idle -= {name for name in values if draft.given & set(resolve(kind, name))}
                idle -= {name for name, value in values.items() if value == usual(*resolve(kind, name)[0])}
    if idle:
        name = min(idle)
        raise LehrError(f"{name} is given and no method of the study has a use for it: leave it out")
    several = {}
    for one in lineage(kind):
        # The dense control has none of what is about masks, which by itself tells nobody apart.
        flats = [d.flat for d in drafts.values() if d.run.kind == one.name]
        several[one.name] = varied([flat for flat in flats if flat.get((one.name, "method")) != DENSE] or flats)
    placed = []
    for draft in drafts.values():
        run, flat, own = draft.run, draft.flat, kinds[draft.run.kind]
        if own is not kind:
            shown = several[own.name] - {key for key in hidden if key not in _keys(study.choices, kind)}
            placed.append(replace(run, label=row_label(own, "", flat, shown, parent=True)))
            continue
        in_panels = [name for name in study.panels if several[kind.name] & set(resolve(kind, name))]
        placed.append(
            replace(
                run,
                label=draft.named or row_label(kind, draft.written, flat, several[kind.name] - hidden),
                panel=", ".join(told(name, flat[resolve(kind, name)[0]]) for name in in_panels),
                sparsity=float(getattr(run.settings, "sparsity", 0.0)),
                choice=tuple((name, flat[resolve(kind, name)[0]]) for name in study.choices),
                terms=draft.terms,
            )
        )
    placed = _keeping(_of_one_value(placed))
    _check_places(placed, study)
    return _ordered(placed, study)


def _of_one_value(runs: list[Run]) -> list[Run]:
    """The runs without those of their choices that have a single value in their row: nothing is chosen there."""
    values: dict[tuple[str, str, float], dict[str, set[str]]] = {}
    for run in runs:
        for name, value in run.choice:
            values.setdefault(run.row, {}).setdefault(name, set()).add(repr(value))
    return [
        replace(run, choice=tuple((name, value) for name, value in run.choice if len(values[run.row][name]) > 1))
        for run in runs
    ]


def _keeping(runs: list[Run]) -> list[Run]:
    """The runs, the first of a chain keeping its weights at the steps that others go back to: nothing is trained twice."""
    by_name = {run.name: run for run in runs}
    steps_of: dict[str, set[str]] = {}
    for run in runs:
        step, first = kinds[run.kind].origin(run.settings), run
        while step is not None and first.parent is not None:
            first = by_name[first.parent]
        if step is not None:
            steps_of.setdefault(first.name, set()).add(step)
    return [
        replace(run, settings=run.settings.model_copy(update={"keep": tuple(sorted(steps_of[run.name]))}))
        if run.name in steps_of
        else run
        for run in runs
    ]


@dataclass(frozen=True)
class _Draft:
    """A run before it has its place in the tables: its settings and those of its ancestors, and which of them were given."""

    run: Run
    flat: dict[Key, Any]
    given: frozenset[Key]
    written: str = ""
    terms: str = ""
    named: str = ""  # by the file


def _chain(kind: Kind, values: dict[str, Any], after: dict[str, Any], alike: str, named: str) -> list[_Draft]:
    """A run and those that it starts from, which have the settings `after` instead of its own; first things first."""
    given = {key for name in values for key in resolve(kind, name)}
    flat: dict[Key, Any] = {}
    result: list[_Draft] = []
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
        result.append(_Draft(run, flat, used, written, terms, "" if passing else named))
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
        return repr(sorted((key, repr(v)) for key, v in flat.items() if key[1] not in kind.free and key[1] != "seed"))
    for (holder, name), value in flat.items():
        if name in ("start", "stop"):
            require(
                value == usual(holder, name), f"{name} is {value}, and alike: epochs counts whole runs: leave one out"
            )
    common = {name: repr(flat[kind.name, name]) for name in (*DATA, "batch_size") if (kind.name, name) in flat}
    return repr((sorted(common.items()), sum(v for (_, name), v in flat.items() if name == "epochs")))


def _keys(names: Iterable[str], kind: Kind) -> set[Key]:
    """What names in `choose` or `panels` mean."""
    found = {name: resolve(kind, name) for name in names}
    for name, keys in found.items():
        if keys[0][1] in ("sparsity", "seed"):
            raise LehrError(f"choose and panels may not name {name}: rows are told apart by it, or averaged over it")
    return {key for keys in found.values() for key in keys}


def _check_places(runs: list[Run], study: Study) -> None:
    """Raise where unlike runs would be averaged, a row could not choose, or the row of reference is missing."""
    places: dict[object, Run] = {}
    children: dict[str | None, set[str]] = {}
    for run in runs:
        children.setdefault(run.parent, set()).add(run.panel)
    for run in runs:
        for panel in children.get(run.name, {run.panel}):  # a parent is in those of its children
            place = (
                panel, run.label, run.sparsity, run.choice, run.settings.lr, run.seed, run.settings.seed, run.member,
            )  # fmt: skip
            if places.setdefault(place, run) is not run:
                raise LehrError(f"unlike runs are both called {run.label!r}: name what tells them apart in `panels`")
    own = [run for run in runs if run.kind == study.kind]
    for row in dict.fromkeys(run.row for run in own):
        choices = {run.choice for run in own if run.row == row}
        seeds = {run.seed for run in own if run.row == row}
        if len(choices) > 1 and study.choose_seeds is not None and not seeds & set(study.choose_seeds):
            raise LehrError(f"{row[1]} has none of the seeds that choose, {study.choose_seeds}: add one to its grid")
    labels = {run.label for run in own}
    if study.against != Study.model_fields["against"].default and not any(
        is_variant(label, study.against) for label in labels
    ):
        raise unknown("row", study.against, labels)


def _ordered(runs: list[Run], study: Study) -> list[Run]:
    """Seed by seed, so that a study that is stopped early has whole columns; those that choose come first."""
    order = {name: i for i, name in enumerate(dict.fromkeys(run.seed for run in runs))}
    choosing = set(order) if study.choose_seeds is None else set(study.choose_seeds)
    if not choosing:
        raise LehrError("choose_seeds is empty: name the seeds that choose, or leave it out for all")
    missing = sorted(choosing - set(order))
    if missing:
        raise LehrError(
            f"choose_seeds names the seed {missing[0]}, which no grid has: give seeds out of {sorted(order)}"
        )
    parents = {run.parent for run in runs}
    return sorted(runs, key=lambda run: (run.seed not in choosing, order[run.seed], run.name not in parents))
