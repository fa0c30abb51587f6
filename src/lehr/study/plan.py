"""The plan of a study: every run, once, with its place in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lehr.base.errors import LehrError, require, unknown
from lehr.recipes.method import DENSE
from lehr.report.summary import is_variant
from lehr.runs import TrainSettings
from lehr.runs.settings import UNTOLD
from lehr.study.chains import Draft, chain, keys
from lehr.study.definition import Run, Study, panels_of
from lehr.study.grid import points
from lehr.study.kinds import Key, Kind, kinds, lineage, resolve
from lehr.study.labels import row_label, told, usual, varied


def plan(study: Study) -> list[Run]:
    """Every run of a study, once, with the runs that they start from; seeds in turn, parents before children.

    Raises:
        LehrError: a setting does not exist, is wrong, or is of no use; or two unlike runs would share a row.
    """
    kind = kinds[study.kind]
    require(
        kind.levels is None or study.alike == "parents",
        f"alike is {study.alike}, and every level of a {kind.name} trains again: leave it out",
    )
    runs = _keeping(_of_one_value(_placed(_drafts(study, kind), study, kind)), study.keep)
    _check_places(runs, study)
    return _ordered(runs, study)


def _drafts(study: Study, kind: Kind) -> list[Draft]:
    """Every run that the grids name, once, and every run on the way to one; all values that are given must be of use to one of them."""
    drafts: dict[str, Draft] = {}
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
            for draft in chain(kind, values, after, study.alike, named or ""):
                known = drafts.setdefault(draft.run.name, draft)
                if draft.named and not known.named:  # a level on the way of another row
                    drafts[draft.run.name] = replace(known, named=draft.named)
                idle -= {name for name in values if draft.given & set(resolve(kind, name))}
                idle -= {name for name, value in values.items() if value == usual(*resolve(kind, name)[0])}
    if idle:
        name = min(idle)
        raise LehrError(f"{name} is given and no method of the study has a use for it: leave it out")
    return list(drafts.values())


def _placed(drafts: list[Draft], study: Study, kind: Kind) -> list[Run]:
    """The runs with their row, panel and column: what differs among them tells them apart, unless it has a place of its own."""
    differing = {one.name: _varied([draft for draft in drafts if draft.run.kind == one.name]) for one in lineage(kind)}
    chosen = set(keys(study.choices, kind))
    elsewhere = (
        chosen
        | set(keys(study.panels, kind))
        | {(one.name, name) for one in lineage(kind) for name in ("seed", *UNTOLD)}
    )
    elsewhere |= {(kind.name, "sparsity"), (kind.name, "method")}
    elsewhere |= {(kind.name, name) for name in (kind.member, kind.levels) if name is not None}
    own = differing[kind.name]
    in_panels = [name for name in study.panels if own & set(resolve(kind, name))]

    def placed(draft: Draft) -> Run:
        run, flat = draft.run, draft.flat
        if run.kind != kind.name:
            shown = differing[run.kind] - (elsewhere - chosen)
            return replace(run, label=row_label(kinds[run.kind], "", flat, shown, parent=True))
        return replace(
            run,
            label=draft.named or row_label(kind, draft.written, flat, own - elsewhere),
            panel=", ".join(told(name, flat[resolve(kind, name)[0]]) for name in in_panels),
            sparsity=float(getattr(run.settings, "sparsity", 0.0)),
            choice=tuple((name, flat[resolve(kind, name)[0]]) for name in study.choices),
            terms=draft.terms,
        )

    return [placed(draft) for draft in drafts]


def _varied(drafts: list[Draft]) -> set[Key]:
    """What differs among runs of a kind; the dense control has none of what is about masks, which by itself tells nobody apart."""
    flats = [draft.flat for draft in drafts]
    return varied([flat for flat in flats if flat.get((drafts[0].run.kind, "method")) != DENSE] or flats)


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


def _keeping(runs: list[Run], besides: Sequence[str]) -> list[Run]:
    """The runs, the first of a chain keeping its weights at the steps that others go back to, and those named besides: nothing is trained twice."""
    by_name = {run.name: run for run in runs}
    steps_of = {run.name: set(besides) for run in runs if besides and isinstance(run.settings, TrainSettings)}
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


def _check_places(runs: list[Run], study: Study) -> None:
    """Raise where unlike runs would be averaged, a row could not choose, or the row of reference is missing."""
    places: dict[object, Run] = {}
    panels = panels_of(runs)
    for run in runs:
        for panel in panels[run.name]:
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
