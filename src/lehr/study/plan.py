"""A study: grids of settings; and its plan: every run of them, named by the hash of its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lehr.base.errors import LehrError, unknown
from lehr.recipes.tune import DENSE
from lehr.runs import Settings
from lehr.study.grid import points
from lehr.study.kinds import Kind, divided, kinds, lineage, settings_of

PARENT, TUNED_DENSE = "dense parent", "dense, tuned on"  # what these rows are called


class Study(BaseModel):
    """Grids of runs, and how they are compared.

    Each grid maps settings to values, lists being its axes. For every row of a table, validation
    chooses among the values of the axes `choose`, on the seeds `choose_seeds` (None for all); the other seeds are
    then run at the chosen values only. Rows are compared with those of the method `against`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    kind: str = "tune"
    grids: tuple[dict[str, Any], ...] = Field(min_length=1)
    choose: tuple[str, ...] = ("tune_lr",)
    choose_seeds: tuple[int, ...] | None = None
    panels: tuple[str, ...] = ("data", "model")  # settings that tell one table from another
    against: str = "one-shot"
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

    def path(self, out: Path) -> Path:
        """Its folder."""
        return out / "runs" / self.folder

    @property
    def row(self) -> tuple[str, str, float]:
        """The row of a table that it belongs to."""
        return (self.panel, self.label, self.sparsity)


def plan(study: Study) -> list[Run]:
    """Every run of a study, once, with the runs that they start from; seeds in turn, parents before children.

    Raises:
        LehrError: a setting does not exist or is wrong.
    """
    kind = kinds[study.kind]
    drafts: dict[str, tuple[Run, dict[str, Any]]] = {}
    for grid in study.grids:
        for values in points(grid):
            for run, flat in _chain(kind, values):
                drafts.setdefault(run.name, (run, flat))
    first = {name: flat for name, (run, flat) in drafts.items() if run.kind == kind.name}
    varied = _varied(first)
    for name in (*study.choose, *study.panels):
        _check_name(name, kind, study)
    runs = []
    for run, flat in drafts.values():
        if run.kind != kind.name:
            runs.append(run)
            continue
        chosen = tuple((name, flat[name]) for name in study.choose if name in flat)
        panel = ", ".join(_told(name, flat[name]) for name in study.panels if name in flat and len(varied[name]) > 1)
        hidden = {*study.choose, *study.panels, "seed", "tune_seed", "sparsity", "method"}
        runs.append(
            Run(
                run.name, run.kind, run.settings, run.parent, run.folder,
                panel=panel,
                label=_label(kind, flat, {k for k, v in varied.items() if len(v) > 1} - hidden),
                sparsity=float(getattr(run.settings, "sparsity", 0.0)),
                choice=chosen,
                seed=int(flat["seed"]),
            )
        )  # fmt: skip
    return _ordered(runs, study)


def _chain(kind: Kind, values: dict[str, Any]) -> list[tuple[Run, dict[str, Any]]]:
    """A run and those that it starts from, first things first, each with the flat settings that labels are made of."""
    line = lineage(kind)
    parts = divided(kind, {"threads": 1, **values})
    result: list[tuple[Run, dict[str, Any]]] = []
    parent: str | None = None
    for one, part in reversed(list(zip(line, parts, strict=True))):
        settings = settings_of(one, part, parent or "")
        if not settings.threads:
            raise LehrError("threads is 0: name the number of threads of a run, which its bits depend on")
        folder = f"{one.title(settings)}-seed{settings.seed}-{settings.digest}"
        run = Run(settings.digest, one.name, settings, parent, folder, seed=settings.seed)
        result.append((run, {}))
        parent = run.name
    flat = _flat(kind, values, result[-1][0].settings)
    result[-1] = (result[-1][0], flat)
    return result


def _flat(kind: Kind, values: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The settings that a file may set, by the names that it has for them, defaults filled in."""
    dump = settings.model_dump()
    own = {}
    for name in kind.own:
        prefixed = f"{kind.name}_{name}"
        own[
            prefixed if kind.parent and (name in ("epochs", "lr", "schedule", "seed") or prefixed in values) else name
        ] = dump[name]
    return (
        {"seed": 0} | {k: v for k, v in values.items() if k != "method"} | own | {"method_text": values.get("method")}
    )


def _varied(flats: dict[str, dict[str, Any]]) -> dict[str, set[str]]:
    """Every setting's values over all runs."""
    names = {name for flat in flats.values() for name in flat}
    return {name: {repr(flat.get(name)) for flat in flats.values()} for name in names}


def _label(kind: Kind, flat: dict[str, Any], varied: set[str]) -> str:
    """What a row is called: the method as written, and what else differs from the usual."""
    method = flat.get("method", "")
    if method == DENSE:
        return TUNED_DENSE
    text = str(flat.get("method_text") or method)
    named = {pair.partition("=")[0] for pair in text.split(":")[1:]}
    more = []
    for name in sorted(varied - named - {"method_text"}):
        own = name.removeprefix(f"{kind.name}_")
        usual = kind.settings.model_fields[own].default if own in kind.settings.model_fields else None
        if name in flat and flat[name] != usual:
            more.append(_told(own, flat[name]))
    return ":".join(filter(None, [text, *more]))


def _told(name: str, value: Any) -> str:
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


def _check_name(name: str, kind: Kind, study: Study) -> None:
    own = {f"{one.name}_{field}" for one in lineage(kind) for field in one.own if one.parent}
    known = own | {field for one in lineage(kind) for field in one.own}
    if name not in known:
        raise unknown("setting of a study", name, known)
    if name in ("seed", "sparsity"):
        raise LehrError(f"choose and panels may not name {name}: rows are told apart by it, or averaged over it")


def _ordered(runs: list[Run], study: Study) -> list[Run]:
    """Seed by seed, so that a study that is stopped early has whole columns; those that choose come first."""
    order = {name: i for i, name in enumerate(dict.fromkeys(run.seed for run in runs))}
    choosing = set(order) if study.choose_seeds is None else set(study.choose_seeds)
    missing = sorted(choosing - set(order))
    if missing:
        raise LehrError(
            f"choose_seeds names the seed {missing[0]}, which no grid has: give seeds out of {sorted(order)}"
        )
    parents = {run.parent for run in runs}
    return sorted(runs, key=lambda run: (run.seed not in choosing, order[run.seed], run.name not in parents))
