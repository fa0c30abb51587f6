"""`tune`: choose a subnetwork of a trained network and tune the network down into it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lehr.base.errors import LehrError
from lehr.data import Batches
from lehr.masks import Mask
from lehr.recipes.choice import choose, former_mask
from lehr.recipes.ending import ended_well, finish_sparse
from lehr.recipes.fresh import fresh_model
from lehr.recipes.method import DENSE, annealing_steps, build_method
from lehr.recipes.parent import inherit, load_data, parent_settings, parent_weights
from lehr.recipes.smoothing import build_smoothing
from lehr.runs import RunFolder, TuneSettings
from lehr.runs.settings import validated
from lehr.runs.weights import load_weights
from lehr.training import evaluate, fit, together
from lehr.training.averaging import check_average, check_batch_norm
from lehr.training.learning_rates import adaptive_peak
from lehr.training.probe import Probe
from lehr.training.progress import bar
from lehr.training.span import steps_per_epoch, total_steps
from lehr.training.trackers import check_trackers
from lehr.training.tuning import Teacher, Tuning


def tune_settings(parent: str | Path, values: dict[str, Any]) -> TuneSettings:
    """Settings for tuning a run's network, or the weights of a file: the parent's unless told otherwise."""
    base = parent_settings(parent)
    epochs = {} if base is None or base.parent is not None else {"parent_epochs": base.epochs}
    return validated(TuneSettings, {**epochs, **inherit(parent, values)})


def tune(
    settings: TuneSettings,
    out: str | Path,
    *,
    resume: bool = False,
    show: bool = False,
    trackers: Sequence[str] = (),
) -> dict[str, Any]:
    """Tune into a run folder and return its result; with `resume` go on where the folder stopped.

    The folder gets ``model.safetensors``, exactly sparse, and ``mask.safetensors``. Raises as `train`.
    """
    check_trackers(trackers)
    settings = settings.settled(torch.get_num_threads())
    torch.set_num_threads(settings.threads)  # scores are sums, and go by them too
    folder = RunFolder(out)
    data = load_data(settings)
    base = parent_settings(settings.parent)
    # What is random in a network and not saved with it comes from the parent's seed.
    model = fresh_model(settings.model, data, base.seed if base is not None else 0)
    load_weights(model, parent_weights(settings.parent), f"the network of {settings.parent}")
    check_batch_norm(settings.bn_batches, model, settings.model)
    if settings.method == DENSE and settings.schedule == "allr":
        raise LehrError("schedule is 'allr', which goes by what a cut takes away, and dense cuts nothing: use 'llr'")
    torch.manual_seed(settings.seed)
    method, peak = None, 1.0
    if settings.method != DENSE:
        within = former_mask(settings.parent)
        same = within is not None and within.granularity == settings.granularity == "unstructured"
        if within is not None and same and settings.sparsity < within.sparsity:
            raise LehrError(
                f"sparsity is {settings.sparsity:g} and the run in {settings.parent} is {within.sparsity:.4g} sparse "
                "already: ask for more, or start from the dense run"
            )
        mask = choose(settings, model, data, within)
        total = total_steps(settings, data)
        steps = annealing_steps(settings, steps_per_epoch(settings, data), total)
        method = build_method(settings, mask, steps, within)
        check_average(settings.average, total, method.steps)
        if settings.schedule == "allr":
            peak = peak_of(settings, model, mask)
    smoothing = build_smoothing(settings, model, data)
    # What the first epoch is compared with; a run has it in its result.
    parent_accuracy = evaluate(model, data.validation, data).accuracy if base is None else None
    teacher = None
    if settings.distill:
        teacher = Teacher(copy.deepcopy(model).requires_grad_(False), settings.distill, settings.distill_temperature)
    batches = len(Batches(data, settings.batch_size, settings.order_seed))
    restart = method.steps if settings.restart and method is not None else None
    probe = Probe(model, data, settings.batch_size) if settings.probe and method is not None else None
    with together.opened(folder, settings, resume=resume):
        if folder.done:
            return ended_well(folder)
        with bar(f"{settings.method} to {settings.sparsity:.4g}", settings.epochs * batches, show=show) as line:
            outcome = fit(
                model, data, settings, folder, trackers=trackers, bar=line,
                tuning=Tuning(method, settings.inactive, teacher, smoothing, peak, restart, probe),
            )  # fmt: skip
        if base is not None and RunFolder(settings.parent).done:
            parent_accuracy = RunFolder(settings.parent).result().get("validation", {}).get("accuracy")
        rate = {"peak_lr": settings.lr * peak} if peak != 1.0 else {}
        finish_sparse(folder, model, data, outcome, method, parent_accuracy, **rate)
    return folder.result()


def peak_of(settings: TuneSettings, model: nn.Module, mask: Mask) -> float:
    """The factor of ALLR for this cut: over all parameters, with the target mask as if it were cut at once."""
    cut = {name: ~keep for name, keep in mask.items()}
    before = after = 0.0
    for name, parameter in model.named_parameters():
        squares = parameter.detach().double().square()
        before += float(squares.sum())
        after += float(squares.sum() - squares[cut[name]].sum() if name in cut else squares.sum())
    share = settings.epochs / settings.parent_epochs if settings.parent_epochs else 0.0
    # Where nothing is cut and nothing is known of the parent, there is nothing to adapt to.
    return adaptive_peak(before**0.5, after**0.5, mask.sparsity, share) or 1.0
