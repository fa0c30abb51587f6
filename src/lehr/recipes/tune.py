"""`tune`: choose a subnetwork of a trained network and tune the network down into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lehr import data as datasets
from lehr import models
from lehr.base.errors import LehrError, require
from lehr.base.steps import parse_length
from lehr.masks import Mask, select
from lehr.recipes.train import scores_of
from lehr.runs import RunFolder, TuneSettings
from lehr.runs.checkpoint import weights_digest
from lehr.runs.settings import TrainSettings, validated
from lehr.sparsify.method import Method, methods
from lehr.training import fit
from lehr.training.loop import load_weights, steps_per_epoch, total_steps
from lehr.training.progress import bar

DENSE = "dense"  # the control: the whole network, tuned for as long

# Which settings each method has parameters for, beside the mask.
_OPTIONS = {
    "one-shot": (),
    "iterative": ("steps", "target", "scope", "reselect_every"),
    "gradual": ("steps", "target", "scope", "reselect_every"),
    "random-annealing": ("steps", "schedule", "all_weights", "target", "scope", "reselect_every", "realise"),
    "temperature-annealing": (
        "steps", "tau", "schedule", "all_weights", "target", "scope", "reselect_every", "realise",
    ),
}  # fmt: skip


def tune_settings(parent: str | Path, values: dict[str, Any]) -> TuneSettings:
    """Settings for tuning a run's network: its data, model and batch size unless told otherwise."""
    folder = RunFolder(parent)
    base = folder.settings()
    if not isinstance(base, TrainSettings):
        raise LehrError(f"{parent} is a tuned run: give the folder of a dense one, made by `lehr train`")
    inherited = {
        name: getattr(base, name)
        for name in ("data", "model", "batch_size", "optimizer", "momentum", "weight_decay", "precision", "limit")
    }
    own = {"parent": str(parent), "parent_digest": weights_digest(folder.weights())}
    return validated(TuneSettings, {**inherited, **values, **own})


def build_method(settings: TuneSettings, mask: Mask, steps: int) -> Method:
    """The method that the settings name; an option that it does not have and that was set is refused."""
    factory = methods[settings.method]
    accepted = _OPTIONS[settings.method]
    given: dict[str, Any] = {
        "steps": steps,
        "tau": settings.tau,
        "schedule": settings.tau_schedule,
        "all_weights": settings.all_weights,
        "target": settings.target,
        "scope": settings.scope,
        "reselect_every": settings.reselect_every,
        "realise": settings.realise,
    }
    defaults = TuneSettings.model_fields
    for name, value in given.items():
        field = {"schedule": "tau_schedule", "steps": "anneal"}.get(name, name)
        if name in accepted or name in ("steps", "scope") or value == defaults[field].default:
            continue
        raise LehrError(f"{settings.method} has no {field.replace('_', ' ')}: leave it out, or choose another method")
    options = {name: given[name] for name in accepted if given[name] is not None}
    return factory(mask, seed=settings.seed, **options)


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
    folder = RunFolder(out)
    data = datasets.load(settings.data, settings.limit)
    model = models.create(settings.model, data.num_classes, data.input_shape)
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
            return folder.result()
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
