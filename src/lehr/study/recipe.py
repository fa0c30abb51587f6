"""`run`: a whole procedure from a YAML file, its stages in order, each resumable."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from lehr.base.errors import LehrError, unknown
from lehr.base.files import read_json, write_json
from lehr.base.yaml import read_yaml
from lehr.data.sources import find
from lehr.models.registry import known
from lehr.recipes.evaluate import EvaluateSettings, evaluate
from lehr.recipes.method import DENSE
from lehr.recipes.parent import parent_weights
from lehr.recipes.sensitivity import SensitivitySettings, sensitivity
from lehr.recipes.train import train, train_settings
from lehr.recipes.tune import tune, tune_settings
from lehr.runs import TrainSettings, TuneSettings, validated
from lehr.runs.digest import weights_digest
from lehr.scores import scores
from lehr.sparsify.method import methods
from lehr.study.board import Workers
from lehr.study.definition import Study
from lehr.study.file import study_of
from lehr.study.plan import plan
from lehr.study.publish import publish
from lehr.study.run import run_study
from lehr.training.trackers import check_trackers

# The settings of each kind of stage, and what they are where a recipe has none.
KINDS: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "train": (TrainSettings, {"epochs": 20}),
    "prune": (TuneSettings, {"method": "one-shot", "epochs": 0}),
    "tune": (TuneSettings, {"method": "gradual", "epochs": 20}),
    "evaluate": (EvaluateSettings, {}),
    "sensitivity": (SensitivitySettings, {}),
    "study": (Study, {}),
}


@dataclass(frozen=True)
class Stage:
    """One step: its kind, its name (and folder), the stage or path it starts from, and its settings."""

    kind: str
    name: str
    source: str | None
    values: dict[str, Any]
    trackers: tuple[str, ...] = ()
    workers: int = 1


@dataclass(frozen=True)
class Recipe:
    """The stages of a procedure and the folder that they go to."""

    out: Path
    stages: tuple[Stage, ...]
    command: tuple[str, ...]  # what a person types to run it


def read_recipe(path: Path, out: Path | None = None, changes: Sequence[str] = ()) -> Recipe:
    """A recipe from its file, checked as far as it can be before anything runs.

    Args:
        path: a YAML file: ``out``, and ``stages``, a list with one entry a stage, ``kind: {settings}``.
        out: instead of the file's own.
        changes: ``STAGE.SETTING=VALUE``, over what the file says.

    Raises:
        LehrError: the file is not YAML, or names a stage or setting that does not exist or is wrong.
    """
    value = read_yaml(path, "recipe")
    if not isinstance(value, dict) or not isinstance(value.get("stages"), list) or not value["stages"]:
        raise LehrError(f"{path} has no list of stages: write `stages:` and below it `- train: {{data: digits, ...}}`")
    for key in value.keys() - {"out", "stages"}:
        raise unknown("part of a recipe", key, ["out", "stages"])
    entries = [_entry(entry, path) for entry in value["stages"]]
    for change in changes:
        _change(entries, change)
    stages: list[Stage] = []
    for kind, settings in entries:
        stages.append(_stage(kind, settings, stages))
    for stage in stages:
        _check(stage, stages)
    out = out or Path(str(value.get("out", f"runs/{path.stem}")))
    sets = [word for change in changes for word in ("--set", change)]
    return Recipe(out, tuple(stages), ("lehr", "run", str(path), *sets, "--out", str(out)))


def _entry(entry: Any, path: Path) -> tuple[str, dict[str, Any]]:
    """The kind of a stage and its settings, as the file has them."""
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, dict) or len(entry) != 1:
        raise LehrError(
            f"{path} has the stage {reprlib.repr(entry)}: write one kind and its settings, `- train: {{data: digits}}`"
        )
    ((kind, values),) = entry.items()
    if kind not in KINDS:
        raise unknown("kind of stage", kind, KINDS)
    if not isinstance(values or {}, dict):
        raise LehrError(
            f"the stage {kind} has {reprlib.repr(values)}: give its settings by name, such as {{epochs: 3}}"
        )
    return kind, {str(name).replace("-", "_"): setting for name, setting in (values or {}).items()}


def _stage(kind: str, values: dict[str, Any], before: Sequence[Stage]) -> Stage:
    settings = dict(values)
    name = str(settings.pop("name", kind))
    if "/" in name or name in ("", ".", ".."):
        raise LehrError(f"a stage is called {name!r}, and its folder goes by its name: give it a plain `name`")
    for wrong in ("run", "parent", "parent_digest"):
        if wrong in settings:
            raise LehrError(f"the stage {name} sets {wrong}: write `from` and a stage or a path")
    for option, kinds in (("trackers", ("train", "prune", "tune")), ("workers", ("study",))):
        if option in settings and kind not in kinds:
            raise LehrError(
                f"the stage {name} sets {option}, which a stage of the kind {kind} does not have: leave it out"
            )
    if any(stage.name == name for stage in before):
        raise LehrError(f"two stages are called {name!r}: give one of them another `name`")
    source = settings.pop("from", None)
    if source is None and kind in ("prune", "tune", "evaluate", "sensitivity"):
        wanted = ("train",) if kind in ("prune", "tune") else ("train", "prune", "tune")
        source = next((stage.name for stage in reversed(before) if stage.kind in wanted), None)
        if source is None:
            raise LehrError(f"the stage {name} has nothing to start from: put a train stage before it, or write `from`")
    if source is not None and kind == "study":
        raise LehrError(f"the stage {name} sets from, and a study trains parents of its own: leave it out")
    trackers = settings.pop("trackers", ())
    workers = settings.pop("workers", 1)
    if type(workers) is not int or workers < 1:
        raise LehrError(f"workers is {workers!r} in the stage {name}: give a whole number, at least 1")
    if not isinstance(trackers, (str, list, tuple)):
        raise LehrError(f"trackers is {trackers!r} in the stage {name}: give a list, such as [tensorboard]")
    names = (trackers,) if isinstance(trackers, str) else tuple(map(str, trackers))
    check_trackers(names)
    return Stage(kind, name, None if source is None else str(source), settings, names, workers)


def _change(entries: Sequence[tuple[str, dict[str, Any]]], change: str) -> None:
    """Carry out one STAGE.SETTING=VALUE."""
    left, sign, text = change.partition("=")
    name, dot, setting = left.partition(".")
    if not sign or not dot:
        raise LehrError(f"the change {change!r} is not understood: write STAGE.SETTING=VALUE, such as tune.epochs=3")
    found = [settings for kind, settings in entries if str(settings.get("name", kind)) == name]
    if not found:
        raise unknown("stage", name, [str(settings.get("name", kind)) for kind, settings in entries])
    try:
        found[0][setting.replace("-", "_")] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise LehrError(f"the change {change!r} has a value that is not YAML: write STAGE.SETTING=VALUE") from None


def _check(stage: Stage, stages: Sequence[Stage]) -> None:
    """Validate the settings now, with stand-ins for what an earlier stage will give."""
    kind, defaults = KINDS[stage.kind]
    if kind is Study:
        try:
            for run in plan(study_of(stage.values, stage.name)):
                _check_names(run.settings.model_dump())
        except LehrError as error:
            raise LehrError(f"in the stage {stage.name}: {error}") from None
        return
    values = defaults | stage.values
    fields = kind.model_fields
    if "parent" in fields and stage.kind != "train":
        values |= {"parent": "", "parent_digest": ""}
        base = next((s for s in stages if s.name == stage.source), None)
        shared = {} if base is None else base.values
        for name in ("data", "model"):
            values.setdefault(name, shared.get(name, ""))
    if "run" in fields:
        values["run"] = ""
    try:
        _check_names(validated(kind, values).model_dump())
    except LehrError as error:
        raise LehrError(f"in the stage {stage.name}: {error}") from None
    known_stages = {other.name for other in stages[: stages.index(stage)]}
    if stage.source is not None and stage.source not in known_stages and not Path(stage.source).exists():
        raise LehrError(f"the stage {stage.name} starts from {stage.source!r}, which is no stage and no path")


def _check_names(values: dict[str, Any]) -> None:
    """Raise where data, a model, a method or a score does not exist."""
    if values.get("data"):
        find(str(values["data"]))
    if values.get("model"):
        known(str(values["model"]))
    if values.get("score"):
        scores[values["score"]]  # raises with the nearest name
    if values.get("method") not in (None, DENSE):
        methods[values["method"]]


def run_recipe(
    recipe: Recipe, *, show: bool = False, told: Callable[[str, Any], None] = lambda name, result: None
) -> dict[str, Any]:
    """Run every stage that is not done, in order, and return their results by name.

    Each goes to its own folder below ``out``; `told` hears of each as it ends. Started again after an
    interruption, finished stages are read and the others go on.
    """
    results: dict[str, Any] = {}
    for stage in recipe.stages:
        results[stage.name] = _run(stage, recipe, show=show)
        told(stage.name, results[stage.name])
    return results


def _run(stage: Stage, recipe: Recipe, *, show: bool) -> dict[str, Any]:
    out = recipe.out / stage.name
    names = {other.name for other in recipe.stages}
    source = (
        None if stage.source is None else recipe.out / stage.source if stage.source in names else Path(stage.source)
    )
    if stage.kind == "train":
        settings = train_settings(source, KINDS["train"][1] | stage.values)
        return train(settings, out, resume=True, show=show, trackers=stage.trackers)
    if stage.kind in ("prune", "tune"):
        assert source is not None, "checked when the recipe was read"
        tuned = tune_settings(source, KINDS[stage.kind][1] | stage.values)
        return tune(tuned, out, resume=True, show=show, trackers=stage.trackers)
    if stage.kind == "study":
        found = run_study(study_of(stage.values, stage.name), out, workers=Workers(stage.workers), show=show)
        publish(found, out, recipe.command)
        return {"rows": [row.as_dict() for row in found.rows]}
    values = {**stage.values, "run": str(source)}
    assert source is not None, "checked when the recipe was read"
    judged = validated(KINDS[stage.kind][0], values)
    stamp = {"of": weights_digest(parent_weights(source)), "settings": judged.model_dump(mode="json")}
    done = out / "stage.json"
    if done.is_file() and (former := read_json(done)).get("stamp") == stamp:
        return dict(former["result"])
    if isinstance(judged, SensitivitySettings):
        result = sensitivity(judged, out, show=show)
    else:
        assert isinstance(judged, EvaluateSettings), "the only other kind that judges"
        result = evaluate(judged)
    write_json(done, {"stamp": stamp, "result": result})
    return result
