"""`tune`: choose a subnetwork of a trained network and tune the network down into it."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lehr import data as datasets
from lehr import models
from lehr.base.errors import LehrError, require
from lehr.base.steps import parse_length
from lehr.masks import Mask, select
from lehr.recipes.train import check_fits, ended_well, scores_of
from lehr.runs import RunFolder, TuneSettings
from lehr.runs.checkpoint import weights_digest
from lehr.runs.settings import TrainSettings, validated
from lehr.sparsify.method import Method, methods
from lehr.training import fit
from lehr.training.loop import load_weights, steps_per_epoch, total_steps
from lehr.training.progress import bar

DENSE = "dense"  # the control: the whole network, tuned for as long

# A method's parameter, and the setting that gives it.
METHOD_SETTINGS = {
    "tau": "tau",
    "schedule": "tau_schedule",
    "all_weights": "all_weights",
    "target": "target",
    "scope": "scope",
    "reselect_every": "reselect_every",
    "realise": "realise",
}


# What a tuned run has from its parent, unless told otherwise.
INHERITED = ("data", "model", "batch_size", "optimizer", "momentum", "weight_decay", "precision", "limit")

# What a row of a comparison may set for itself; all else is the same for every row.
ROW_OPTIONS = (*METHOD_SETTINGS.values(), "inactive", "anneal", "score", "distribution")


def tune_settings(parent: str | Path, values: dict[str, Any]) -> TuneSettings:
    """Settings for tuning a run's network: its data, model and batch size unless told otherwise."""
    folder = RunFolder(parent)
    base = folder.settings()
    if not isinstance(base, TrainSettings):
        raise LehrError(f"{parent} is a tuned run: give the folder of a dense one, made by `lehr train`")
    inherited = {name: getattr(base, name) for name in INHERITED}
    own = {"parent": str(parent), "parent_digest": weights_digest(folder.weights())}
    return validated(TuneSettings, {**inherited, **values, **own})


def build_method(settings: TuneSettings, mask: Mask, steps: int) -> Method:
    """The method that the settings name, with those of its parameters that they set.

    A setting that the method has no parameter for, and that is not at its default, is refused.
    """
    factory = methods[settings.method]
    accepted = signature(factory).parameters
    options: dict[str, Any] = {"seed": settings.seed}
    if "steps" in accepted:
        options["steps"] = steps
    for parameter, field in METHOD_SETTINGS.items():
        value = getattr(settings, field)
        if parameter in accepted:
            if value is not None:
                options[parameter] = value
        elif value != TuneSettings.model_fields[field].default and field != "scope":  # the selection has it too
            raise LehrError(
                f"{settings.method} has no {field.replace('_', ' ')}: leave it out, or choose another method"
            )
    return factory(mask, **options)


def annealing_steps(settings: TuneSettings, per_epoch: int, total: int) -> int:
    """The length of the annealing phase in optimizer steps, checked to fit in the run."""
    steps = parse_length(settings.anneal, steps_per_epoch=per_epoch, total=total)
    require(
        steps <= total,
        f"annealing for {settings.anneal} is {steps} steps and the run has {total}: shorten it or add epochs",
    )
    return steps


def tune(settings: TuneSettings, out: str | Path, *, resume: bool = False, show: bool = False) -> dict[str, Any]:
    """Tune into a run folder and return its result; with `resume` go on where the folder stopped.

    The folder gets ``model.safetensors``, exactly sparse, and ``mask.safetensors``. Raises as `train`.
    """
    settings = settings.settled(torch.get_num_threads())
    folder = RunFolder(out)
    data = datasets.load(settings.data, settings.limit)
    torch.manual_seed(RunFolder(settings.parent).settings().seed)  # what is random in a network and not saved with it
    model = models.create(settings.model, data.num_classes, data.input_shape)
    check_fits(model, data, settings.model)
    load_weights(model, RunFolder(settings.parent).weights(), f"the network of {settings.parent}")
    torch.manual_seed(settings.seed)
    method = None
    if settings.method != DENSE:
        mask = select(
            model,
            settings.sparsity,
            score=settings.score,
            scope=settings.scope,
            distribution=settings.distribution,
            seed=settings.seed,
        )
        total = total_steps(settings, data)
        method = build_method(settings, mask, annealing_steps(settings, steps_per_epoch(settings, data), total))
    batches = len(datasets.Batches(data, settings.batch_size, settings.seed))
    with folder.locked():
        folder.begin(settings, resume=resume)
        if folder.done:
            return ended_well(folder)
        with bar(f"{settings.method} to {settings.sparsity:.4g}", settings.epochs * batches, show=show) as line:
            outcome = fit(model, data, settings, folder, method=method, inactive=settings.inactive, bar=line)
        counts: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
        if method is None:
            counts |= {"weights": counts["parameters"], "kept": counts["parameters"]}
        else:
            check_sparse(model, method.target)
            method.target.save(folder.mask)
            counts |= {"weights": method.target.size, "kept": method.target.kept}
        counts["nonzeros"] = sum(int((p != 0).sum()) for p in model.parameters())
        folder.finish(model.state_dict(), scores_of(outcome) | counts, {"seconds": outcome.seconds})
    return folder.result()


def check_sparse(model: nn.Module, mask: Mask) -> None:
    """Raise unless every weight outside the mask is exactly 0: the promise that the file is sparse.

    >>> layer = nn.Linear(2, 1)
    >>> check_sparse(layer, Mask({"weight": torch.tensor([[True, True]])}))
    """
    for name, keep in mask.items():
        stray = int((model.get_parameter(name).detach()[~keep] != 0).sum())
        if stray:
            raise LehrError(f"{name} has {stray} weights outside its mask: this is a bug, please report it")
