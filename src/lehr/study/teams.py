"""Which runs of a study form an ensemble."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lehr.base.errors import LehrError, require
from lehr.report.cells import Cell, best_choice
from lehr.study.choice import expected
from lehr.study.definition import Run, panels_of
from lehr.study.findings import Findings
from lehr.study.kinds import kinds

Choice = tuple[float, str]
WAITING = "it is not done yet"


@dataclass(frozen=True)
class Team:
    """The runs of one ensemble: its row, the seed of the family, and the folders of the members in order."""

    label: str
    seed: int
    runs: tuple[str, ...]
    samples: int = 0  # networks that are drawn around the runs instead of them
    study: str = ""  # its folder
    way: str = ""  # of `Extra`: what it was made for


@dataclass(frozen=True)
class Extra:
    """Ensembles that are made beside those of a study's own families.

    Args:
        deep: of how many dense runs, next to each other by seed, a deep ensemble is made; None for none.
        swag: how many networks are drawn around the dense cycles of a row at a constant rate; None for none.
        sizes: ensembles of the first so many members of every larger family.

    Raises:
        LehrError: a number is too small.
    """

    deep: int | None = None
    swag: int | None = None
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(self.deep is None or self.deep >= 2, f"deep is {self.deep}: a deep ensemble has at least 2 networks")
        require(self.swag is None or self.swag >= 1, f"swag is {self.swag}: give a number of networks from 1")
        for size in self.sizes:
            require(size >= 1, f"sizes has {size}: give numbers of members from 1")
            require(self.sizes.count(size) == 1, f"sizes has {size} twice: leave one out")

    def check(self, made: Collection[Team]) -> None:
        """Raise for what no study had the runs for."""
        ways = {team.way for team in made}
        if self.deep is not None and "deep" not in ways:
            raise LehrError(f"deep is {self.deep} and no dense row has as many seeds: train more, or leave it out")
        if self.swag is not None and "swag" not in ways:
            raise LehrError(f"swag is {self.swag} and there are no dense cycles at a constant rate: leave it out")
        for size in self.sizes:
            require(str(size) in ways, f"sizes has {size} and no family has more members: leave it out")


NOTHING = Extra()


def teams(found: Findings, out: Path, extra: Extra = NOTHING) -> list[Team]:
    """The ensembles of a study, by row and seed.

    Children and cycles of one family are an ensemble, every other run is one by itself; at the choice (of rates and the like) that validation prefers over
    all runs of a row on the seeds that choose. Dense runs are also combined across seeds. What a run is of that failed or is not done yet is left out, see `left_out`.

    Args:
        found: of the study.
        out: its folder.
        extra: what else is made where the study has the runs for it.
    """
    place = str(out.absolute())
    made: list[Team] = []
    dense: dict[str, list[Run]] = {}
    for label, own_seed, ordered, reason in _chosen(found):
        if kinds[ordered[0].kind].member is None:
            whole = [run for run in ordered if run.folder not in reason]
            made += [Team(label, own_seed, (str(run.path(out)),), study=place) for run in whole]
            dense.setdefault(label, []).extend(run for run in whole if run.kind == "train")
            continue
        if reason:
            continue
        paths = tuple(str(run.path(out)) for run in ordered)
        sizes = sorted(size for size in extra.sizes if size < len(paths))
        made += [Team(label, own_seed, paths[:size], study=place, way=str(size)) for size in sizes]
        made.append(Team(label, own_seed, paths, study=place))
        if extra.swag is not None and len(ordered) > 1 and _constant(ordered):
            made.append(Team(f"SWAG of {label}", own_seed, paths, extra.swag, place, "swag"))
    return made + (_deep(dense, extra.deep, out) if extra.deep is not None else [])


def left_out(found: Findings) -> list[str]:
    """A sentence for every ensemble that is not there because a run failed, and one for those of a row that are not done yet."""
    told: list[str] = []
    waiting: dict[str, list[int]] = {}
    for label, own_seed, _, reason in _chosen(found):
        why = next((why for why in reason.values() if why != WAITING), WAITING)
        if reason and why != WAITING:
            told.append(f"{label}, seed {own_seed}, is left out: a run failed: {why}")
        elif reason:
            waiting.setdefault(label, []).append(own_seed)
    for label, seeds in waiting.items():
        which = f"seed {seeds[0]}, is" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}, are"
        told.append(f"{label}, {which} left out: not done yet, go on with the study")
    return told


def _chosen(found: Findings) -> Iterator[tuple[str, int, list[Run], dict[str, str]]]:
    """The label, seed and runs of every family at the choice that validation prefers, and by folder why runs of it are not there."""
    families = _grouped(expected(found.study, found.runs, found.cells))
    preferred = _preferred(families, found)
    reasons = {Path(cell.path).name: str(cell.result["failed"]) for cell in found.failures}
    ended = {Path(cell.path).name for cell in found.cells}
    waiting = {run.folder: WAITING for run in found.runs if run.folder not in ended and run.folder not in reasons}
    reasons |= waiting
    choosing = found.study.choose_seeds
    unsettled = {
        label
        for (label, seed, _), choices in families.items()
        if len(choices) > 1 and (choosing is None or seed in choosing)
        if any(run.folder in waiting for runs in choices.values() for run in runs)
    }
    for (label, _, own_seed), choices in families.items():
        if preferred[label] not in choices:  # a seed that chose nothing and does not have it
            continue
        ordered = sorted(choices[preferred[label]], key=lambda run: run.member)
        if label in unsettled:
            yield label, own_seed, ordered, {run.folder: WAITING for run in ordered}
        else:
            yield (
                label,
                own_seed,
                ordered,
                {run.folder: reasons[run.folder] for run in ordered if run.folder in reasons},
            )


Families = dict[tuple[str, int, int], dict[Choice, list[Run]]]


def _grouped(runs: Sequence[Run]) -> Families:
    """The runs of every family (by label, parent's seed and own) at each choice; those that are alone are families of their own."""
    panels = panels_of(runs)
    sparsities: dict[str, set[float]] = {}
    for run in runs:
        sparsities.setdefault(run.label, set()).add(run.sparsity)
    families: Families = {}
    for run in runs:
        if run.kind == "train" and not run.settings.epochs:
            continue  # a dense run of no epochs is what cycles begin with
        member = kinds[run.kind].member is not None
        told = run.kind != "cycle" and (not member or len(sparsities[run.label]) > 1)
        label = _label(run, panels[run.name][0], run.sparsity if told else 0.0)
        own = families.setdefault((label, run.seed, run.settings.seed), {})
        own.setdefault((run.settings.lr, repr(run.choice)), []).append(run)
    return families


def _constant(runs: Sequence[Run]) -> bool:
    """Whether these are dense cycles at a constant rate."""
    return all(run.kind == "cycle" and run.settings.schedule == "constant" and not run.sparsity for run in runs)


def _deep(dense: Mapping[str, Sequence[Run]], count: int, out: Path) -> list[Team]:
    """Deep ensembles of so many dense runs each, where there are as many."""
    rows = {label: sorted(own, key=lambda run: run.seed) for label, own in dense.items() if own}
    made, place = [], str(out.absolute())
    for label, ordered in rows.items():
        name = f"deep ensemble of {label}" if len(rows) > 1 else "deep ensemble"
        for i in range(0, len(ordered) - count + 1, count):
            paths = tuple(str(run.path(out)) for run in ordered[i : i + count])
            made.append(Team(name, ordered[i].seed, paths, study=place, way="deep"))
    return made


def _preferred(families: Families, found: Findings) -> dict[str, Choice]:
    """By label the choice that validation prefers, as it does for rows, over all members on the seeds that choose."""
    cells = {Path(cell.path).name: cell for cell in found.cells}
    by_label: dict[str, dict[Choice, list[Cell]]] = {}
    for (label, _, _), choices in families.items():
        for choice, runs in choices.items():
            own = by_label.setdefault(label, {}).setdefault(choice, [])
            own += [cells[run.folder] for run in runs if run.folder in cells]
    return {label: best_choice(own, found.study.choose_seeds) or next(iter(own)) for label, own in by_label.items()}


def _label(run: Run, panel: str, sparsity: float) -> str:
    name = ", ".join(part for part in (panel, run.label) if part).replace(":", ", ")
    return f"{name} ({100 * sparsity:.3g} %)" if sparsity else name
