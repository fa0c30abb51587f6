"""`train`: a dense network, from its initialisation or from given weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lehr import models
from lehr.base.errors import LehrError, require
from lehr.base.steps import parse_length
from lehr.base.tensors import write_tensors
from lehr.data import Batches, Dataset
from lehr.recipes.ending import ended_well, finish, nonzeros, scores_of
from lehr.recipes.fresh import fresh_model
from lehr.recipes.parent import inherit, load_data, parent_weights
from lehr.runs import RunFolder, TrainSettings, validated
from lehr.runs.weights import load_weights
from lehr.sparsify import MaskLearning
from lehr.training import fit, together
from lehr.training.averaging import check_batch_norm
from lehr.training.progress import bar
from lehr.training.span import steps_per_epoch, total_steps
from lehr.training.trackers import check_trackers


def train(
    settings: TrainSettings,
    out: str | Path,
    *,
    resume: bool = False,
    show: bool = False,
    trackers: Sequence[str] = (),
) -> dict[str, Any]:
    """Train into a run folder and return its result; with `resume` go on where the folder stopped.

    Raises `LehrError` for bad input, `Interrupted` when asked to stop (the state is saved).
    """
    check_trackers(trackers)
    if settings.schedule == "allr":
        raise LehrError("schedule is 'allr', which goes by what a cut takes away, and nothing is cut here: use 'llr'")
    settings = settings.settled(torch.get_num_threads())
    folder = RunFolder(out)
    data = load_data(settings)
    model = models.initialise(fresh_model(settings.model, data, settings.seed), settings.init)
    if settings.parent is not None:
        if settings.init != "default":
            raise LehrError(f"init is {settings.init!r}, and the weights are those of {settings.parent}: leave one out")
        load_weights(model, parent_weights(settings.parent), f"the network of {settings.parent}")
    check_batch_norm(settings.bn_batches, model, settings.model)
    mask = mask_learning(settings, data)
    batches = len(Batches(data, settings.batch_size, settings.order_seed))
    with together.opened(folder, settings, resume=resume):
        if folder.done:
            return ended_well(folder)
        with bar(f"training {settings.model}", settings.epochs * batches, show=show) as line:
            keep = kept_steps(settings, data)
            outcome = fit(model, data, settings, folder, mask=mask, keep=keep, trackers=trackers, bar=line)
        size = sum(p.numel() for p in model.parameters())
        exact = settings.init != "default" or settings.learn_mask  # else a zero is an accident
        kept = nonzeros(model) if exact else size
        result = scores_of(outcome, data) | {"parameters": size, "nonzeros": kept}
        if settings.parent is not None and RunFolder(settings.parent).mask.is_file():
            result["notes"] = [
                "the parent was sparse, and its zeros were trained like any weight: the network is dense"
            ]
        if outcome.mask and together.rank() == 0:
            write_tensors(folder.learned, outcome.mask, {"format": "pt"})
        finish(folder, model, result, outcome)
    return folder.result()


def kept_steps(settings: TrainSettings, data: Dataset) -> set[int]:
    """The steps of the schedule whose weights are to stay."""
    per_epoch = steps_per_epoch(settings, data)
    return {parse_length(text, steps_per_epoch=per_epoch, total=settings.epochs * per_epoch) for text in settings.keep}


def mask_learning(settings: TrainSettings, data: Dataset) -> MaskLearning | None:
    """How a mask is learned with the weights; None where it is not.

    A setting of it that is not at its default is refused where no mask is learned.
    """
    own = {name: field.default for name, field in TrainSettings.model_fields.items() if name.startswith("mask_")}
    if not settings.learn_mask:
        for name, default in own.items():
            value = getattr(settings, name)
            require(value == default, f"{name} is {value} and no mask is learned: give learn_mask, or leave it out")
        return None
    require(not settings.average, "average and learn_mask are both given, and a mask is not averaged: leave one out")
    total, per_epoch = total_steps(settings, data), steps_per_epoch(settings, data)
    warm_up, ramp = (
        parse_length(text, steps_per_epoch=per_epoch, total=total)
        for text in (settings.mask_warm_up, settings.mask_ramp)
    )
    require(
        warm_up + ramp <= total,
        f"mask_warm_up {settings.mask_warm_up} and mask_ramp {settings.mask_ramp} are {warm_up + ramp} steps and the run has {total}: "
        "shorten them or add epochs",
    )
    return MaskLearning(
        sparsity=settings.learn_mask, polarise=settings.mask_polarise, warm_up=warm_up, ramp=ramp,
        floor=settings.mask_floor, straight_through=settings.mask_straight_through, lr=settings.mask_lr,
    )  # fmt: skip


def train_settings(parent: str | Path | None, values: dict[str, Any]) -> TrainSettings:
    """Settings for dense training; from a parent, its own unless told otherwise."""
    return validated(TrainSettings, values if parent is None else inherit(parent, values))
