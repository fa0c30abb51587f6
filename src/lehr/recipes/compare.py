"""`compare`: the same parents, the same budget, several methods, several seeds; one table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lehr.base.errors import LehrError, unknown
from lehr.base.files import read_json, write_json
from lehr.masks import Mask, select
from lehr.masks.granules import n_of_m_sparsity
from lehr.recipes.parent import INHERITED, load_data
from lehr.recipes.runner import Task, run_all
from lehr.recipes.train import fresh_model
from lehr.recipes.tune import (
    DENSE,
    RETRAINING,
    ROW_OPTIONS,
    SELECTION,
    annealing_steps,
    build_method,
    tune_settings,
)
from lehr.report.summary import Cell, Row, summarise
from lehr.runs import RunFolder, TrainSettings, TuneSettings
from lehr.runs.folder import holds_something
from lehr.runs.settings import LearningRate, Length, OptimizerName, Precision, validated
from lehr.scores import scores
from lehr.sparsify.method import methods
from lehr.training.averaging import check_average, check_batch_norm
from lehr.training.loop import steps_per_epoch, total_steps
from lehr.training.progress import bar

SPARSITIES = (0.9, 0.98)  # where none are named


class CompareSettings(BaseModel):
    """What is compared; each run below it gets its own settings and folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    model: str
    sparsities: tuple[float, ...] = Field(min_length=1)
    methods: tuple[str, ...] = Field(min_length=1)  # "temperature-annealing:target=moving:tau=1"
    seeds: tuple[int, ...] = Field(min_length=1)
    epochs: int = Field(ge=0)
    tune_epochs: int = Field(ge=1)
    lr: float = Field(default=0.1, gt=0)
    tune_lrs: tuple[float, ...] = (0.1,)
    lr_seeds: int | None = Field(default=None, ge=1)  # the menu is tried on so many seeds; None for all
    schedule: LearningRate = "one-cycle"
    tune_schedule: LearningRate = "one-cycle"
    score: str = "magnitude"
    anneal: Length = "0.5"
    batch_size: int = Field(default=128, ge=1)
    optimizer: OptimizerName = "sgd"
    weight_decay: float = Field(default=5e-4, ge=0)
    precision: Precision = "auto"
    threads: int = Field(default=0, ge=0)
    limit: int | None = None
    image_size: int | None = None
    augment: bool | None = None
    context: int | None = None
    momentum: float = Field(default=0.9, ge=0, lt=1)
    granularity: str = "unstructured"
    scope: str = "global"
    distribution: str = "uniform"
    target_modules: tuple[str, ...] | str | None = None
    exclude_modules: tuple[str, ...] | str | None = None
    distill: float = 0.0
    distill_temperature: float = 2.0
    average: float = 0.0
    bn_batches: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _lists(cls, values: Any) -> Any:
        return listed(values) if isinstance(values, dict) else values

    @property
    def folder(self) -> Path:
        """Where a comparison goes that was given no folder: the same one each time."""
        name = hashlib.blake2b(self.model_dump_json().encode(), digest_size=4).hexdigest()
        return Path("runs") / f"compare-{self.data}-{Path(self.model).stem}-{name}"


def listed(values: dict[str, Any]) -> dict[str, Any]:
    """Settings of a comparison with single values as lists, a number of seeds as that many, and the usual sparsities.

    >>> listed({"seeds": 2, "methods": "gradual", "granularity": "2:4"})
    {'seeds': (0, 1), 'methods': ('gradual',), 'granularity': '2:4', 'sparsities': (0.5,)}
    """
    result = dict(values)
    own = n_of_m_sparsity(str(result.get("granularity", "")))
    result.setdefault("sparsities", SPARSITIES if own is None else (own,))
    for name in ("sparsities", "methods", "tune_lrs"):
        if name in result and not isinstance(result[name], (list, tuple)):
            result[name] = (result[name],)
    if type(result.get("seeds")) is int:
        result["seeds"] = tuple(range(result["seeds"]))
    return result


def parse_method(text: str) -> tuple[str, dict[str, str]]:
    """A method and its options, as written on the command line.

    >>> parse_method("temperature-annealing:target=moving:tau=1")
    ('temperature-annealing', {'target': 'moving', 'tau': '1'})
    """
    name, *pairs = text.split(":")
    if name not in methods:
        raise unknown("method", name, methods)
    options = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not value:
            raise LehrError(f"the option {pair!r} of {name} is not understood: write {name}:tau=0.5:target=moving")
        if key not in ROW_OPTIONS:
            raise unknown("option of a method", key, ROW_OPTIONS)
        if key in options:
            raise LehrError(f"{text} sets {key} twice: leave one out")
        options[key] = value
    return name, options


def compare(
    settings: CompareSettings, out: str | Path, *, jobs: int = 1, show: bool = False
) -> tuple[list[Row], list[Cell]]:
    """Run what is missing of the comparison and summarise all of it.

    Parents, one a seed, are trained once; every cell starts from its seed's parent with the same
    number of optimizer steps. Where several learning rates are given, each row is shown at the one
    with the best mean validation accuracy (over the first `lr_seeds` seeds; the others confirm it); the
    test set chooses nothing. Finished runs are kept, so an interrupted comparison goes on when started
    again.
    """
    out = Path(out)
    check(settings)
    _begin(settings, out)
    parents = {seed: _parent(settings, seed, out) for seed in settings.seeds}
    with bar("parents", len(parents), show=show) as line:
        run_all(list(parents.values()), jobs, line)
    planned = _cells(settings, {seed: task.path for seed, task in parents.items()}, out)
    first = set(settings.seeds if settings.lr_seeds is None else settings.seeds[: settings.lr_seeds])
    cells = [cell for cell in planned if cell.seed in first]
    with bar("tuning", len(cells), show=show) as line:
        run_all([cell.task for cell in cells], jobs, line)
    finished = [_finished(cell) for cell in cells]
    chosen = {(row.label, row.sparsity, row.lr) for row in _summary(finished)}
    rest = [c for c in planned if c.seed not in first and (c.label, c.sparsity, c.lr) in chosen]
    with bar("other seeds", len(rest), show=show) as line:
        run_all([cell.task for cell in rest], jobs, line)
    finished += [_finished(cell) for cell in rest]
    finished += [_finished(_Planned("dense parent", 0.0, settings.lr, seed, task)) for seed, task in parents.items()]
    return _summary(finished), finished


def _summary(cells: list[Cell]) -> list[Row]:
    rows = summarise(cells)
    for cell in cells:
        if not any((row.label, row.sparsity) == (cell.label, cell.sparsity) for row in rows):
            raise LehrError(
                f"{cell.label} at sparsity {cell.sparsity:g} diverged at every rate: add a lower --tune-lrs"
            )
    return rows


def _finished(cell: _Planned) -> Cell:
    folder = RunFolder(cell.task.path)
    seconds = float(read_json(folder.timing_file)["seconds"]) if folder.timing_file.exists() else float("nan")
    return Cell(
        label=cell.label,
        sparsity=cell.sparsity,
        lr=cell.lr,
        seed=cell.seed,
        path=cell.task.path,
        result=folder.result(),
        metrics=folder.metrics(),
        seconds=seconds,
    )


@dataclass(frozen=True)
class _Planned:
    label: str
    sparsity: float
    lr: float
    seed: int
    task: Task


def _begin(settings: CompareSettings, out: Path) -> None:
    file = out / "compare.json"
    if out.exists() and not out.is_dir():
        raise LehrError(f"{out} is a file: give a folder for the comparison")
    if holds_something(out) and not file.exists():
        raise LehrError(f"{out} holds something else than a comparison: give an empty or a new folder")
    for half in out.glob(".*.part"):  # a process that was killed while it wrote has left them
        half.unlink(missing_ok=True)
    write_json(file, settings.model_dump())


def _parent(settings: CompareSettings, seed: int, out: Path) -> Task:
    values = settings.model_dump(
        include={*INHERITED, "epochs", "lr", "schedule", "threads"}
    )  # fmt: skip
    own = validated(TrainSettings, values | {"seed": seed})
    return Task(str(out / "parents" / f"seed{seed}-{own.digest}"), own)


def check(settings: CompareSettings) -> None:
    """Refuse what cannot work before anything is trained."""
    for name in ("methods", "sparsities", "seeds", "tune_lrs"):
        values = getattr(settings, name)
        if len(set(values)) < len(values):
            raise LehrError(f"{name} lists a value twice ({', '.join(map(str, values))}): leave one out")
    base = _parent(settings, settings.seeds[0], Path()).settings
    data = load_data(base)
    shared = {name: getattr(base, name) for name in INHERITED} | {"parent": "", "parent_digest": ""}
    fresh = fresh_model(settings.model, data, settings.seeds[0])
    check_batch_norm(settings.bn_batches, fresh, settings.model)
    for text, sparsity in _rows(settings):
        for lr in settings.tune_lrs:
            values = shared | _values(settings, text, sparsity, lr, settings.seeds[0])
            tuned = validated(TuneSettings, values)
            steps = annealing_steps(tuned, steps_per_epoch(tuned, data), total_steps(tuned, data))
            length = 0 if text == DENSE or text.startswith("one-shot") else steps
            check_average(tuned.average, total_steps(tuned, data), length)
            if tuned.score not in scores:
                raise unknown("score", tuned.score, scores)
            if text != DENSE:
                # On weights of its initialisation: what the shapes refuse is refused now.
                if lr == settings.tune_lrs[0]:
                    chosen = {name: getattr(tuned, name) for name in SELECTION}
                    select(fresh, tuned.sparsity, allow_empty_layers=True, **chosen)
                build_method(tuned, Mask({"weight": torch.tensor([True, False])}), steps)


def _rows(settings: CompareSettings) -> list[tuple[str, float]]:
    return [(DENSE, 0.0), *((text, sparsity) for sparsity in settings.sparsities for text in settings.methods)]


def _values(settings: CompareSettings, text: str, sparsity: float, lr: float, seed: int) -> dict[str, Any]:
    name, options = (DENSE, {}) if text == DENSE else parse_method(text)
    common = {
        "epochs": settings.tune_epochs,
        "schedule": settings.tune_schedule,
        "anneal": settings.anneal,
        "threads": settings.threads,
        **{option: getattr(settings, option) for option in (*SELECTION, *RETRAINING)},
    }
    if text == DENSE:
        common["granularity"] = "unstructured"  # N:M would bring a sparsity along
    return {**common, "method": name, "sparsity": sparsity, "lr": lr, "seed": seed, **options}


def _cells(settings: CompareSettings, parents: dict[int, str], out: Path) -> list[_Planned]:
    planned = []
    for text, sparsity in _rows(settings):
        for lr in settings.tune_lrs:
            for seed, parent in parents.items():
                tuned = tune_settings(parent, _values(settings, text, sparsity, lr, seed))
                path = out / "runs" / f"{text.replace(':', '_')}-s{sparsity:g}-lr{lr:g}-seed{seed}-{tuned.digest}"
                label = "dense, tuned on" if text == DENSE else text
                planned.append(_Planned(label, sparsity, lr, seed, Task(str(path), tuned)))
    return planned
