"""`tune`: choose a subnetwork of a trained network and tune the network down into it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import LehrError, require, unknown
from lehr.base.steps import parse_length
from lehr.data import Batches, Dataset
from lehr.masks import Mask, select
from lehr.masks.partition import partition
from lehr.recipes.parent import inherit, load_data, parent_settings, parent_weights
from lehr.recipes.train import ended_well, finish, fresh_model, scores_of
from lehr.runs import ChildSettings, RunFolder, TuneSettings
from lehr.runs.settings import validated
from lehr.runs.weights import load_weights, read_weights
from lehr.scores import DataScore, scores
from lehr.smoothing import Smoothing
from lehr.sparsify.method import Method, methods
from lehr.training import evaluate, fit, together
from lehr.training.averaging import check_average, check_batch_norm
from lehr.training.diagnosis import diagnose_run
from lehr.training.learning_rates import adaptive_peak
from lehr.training.probe import Probe
from lehr.training.progress import bar
from lehr.training.span import steps_per_epoch, total_steps
from lehr.training.trackers import check_trackers
from lehr.training.tuning import Teacher, Tuning

LEARNED = "learned-mask"
DENSE = "dense"  # the control: the whole network, tuned for as long

# A method's parameter, and the setting that gives it.
METHOD_SETTINGS = {
    "tau": "tau",
    "schedule": "tau_schedule",
    "all_weights": "all_weights",
    "by_layer": "tau_by_layer",
    "target": "target",
    "scope": "scope",
    "reselect_every": "reselect_every",
    "redraw_every": "redraw_every",
    "realise": "realise",
    "drop": "drop",
    "cycles": "cycles",
}

# What is chosen, and how it is tuned: the same for every method.
SELECTION = ("score", "scope", "distribution", "granularity", "target_modules", "exclude_modules")
SMOOTHING = ("smooth", "smooth_for", "label_smoothing", "softness", "skip")
RETRAINING = ("distill", "distill_temperature", "average", "bn_batches", *SMOOTHING)

# What a row of a comparison may set for itself; all else is the same for every row.
ROW_OPTIONS = (
    *METHOD_SETTINGS.values(), "inactive", "restart", "anneal", "score", "distribution", *RETRAINING,
)  # fmt: skip


def parse_method(text: str) -> tuple[str, dict[str, str]]:
    """A method and its options, as written on the command line.

    >>> parse_method("temperature-annealing:target=moving:tau=1")
    ('temperature-annealing', {'target': 'moving', 'tau': '1'})
    """
    name, *pairs = text.split(":")
    if name != DENSE:
        methods[name]  # raises with the nearest name
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


def tune_settings(parent: str | Path, values: dict[str, Any]) -> TuneSettings:
    """Settings for tuning a run's network, or the weights of a file: the parent's unless told otherwise."""
    base = parent_settings(parent)
    epochs = {} if base is None or base.parent is not None else {"parent_epochs": base.epochs}
    return validated(TuneSettings, {**epochs, **inherit(parent, values)})


def former_mask(parent: str | Path) -> Mask | None:
    """The mask of a parent that is sparse already, within which the next one is chosen; None for a dense one."""
    folder = RunFolder(parent)
    return Mask.load(folder.mask) if folder.mask.is_file() else None


def build_method(settings: TuneSettings, mask: Mask, steps: int, within: Mask | None = None) -> Method:
    """The method that the settings name, with those of its parameters that they set.

    A setting that the method has no parameter for, and that is not at its default, is refused.
    """
    factory = methods[settings.method]
    accepted = signature(factory).parameters
    options: dict[str, Any] = {"seed": settings.draw_seed, "within": within}
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
    method = factory(mask, **options)
    # Of a pair the second is what the first leaves out; the first draws as it would alone.
    return (
        method.mirror()
        if isinstance(settings, ChildSettings) and settings.complement and settings.child % 2
        else method
    )


def score_data(settings: TuneSettings, data: Dataset) -> list[tuple[Tensor, Tensor]] | None:
    """What a score looks at, if it does: one batch of training examples, as they are judged, 10 for each class or a batch of training.

    Which examples: by the seed.
    """
    if not isinstance(scores[settings.score], DataScore):
        return None
    count = min(len(data.train), max(settings.batch_size, 10 * data.num_classes))
    keys = Stream(settings.seed, "examples", Purpose.SCORE).bits(0, 2 * len(data.train)).view("<u4")
    split = data.train.take(torch.from_numpy(keys.argsort(kind="stable")[:count]))
    return [(data.prepare.judged(split.inputs), split.targets)]


def learned_scores(parent: str | Path) -> dict[str, Tensor]:
    """The mask that a run has learned with its weights."""
    path = RunFolder(parent).learned
    if not path.is_file():
        raise LehrError(f"{parent} has learned no mask: train it with --learn-mask, or choose another score")
    return read_weights(path)


def build_smoothing(settings: TuneSettings, model: nn.Module, data: Dataset) -> Smoothing | None:
    """What is smoothed, checked to be in the network; None where nothing is.

    A setting of it that is not at its default is refused where its part is not smoothed.
    """
    for field, part in (
        ("label_smoothing", "labels"),
        ("softness", "activations"),
        ("skip", "skips"),
        ("smooth_for", ""),
    ):
        value = getattr(settings, field)
        used = part in settings.smooth or (settings.smooth and not part)
        require(
            bool(used) or value == TuneSettings.model_fields[field].default,
            f"{field} is {value} and {part or 'nothing'} is {'not ' if part else ''}smoothed: give smooth, or leave it out",
        )
    if not settings.smooth:
        return None
    total = total_steps(settings, data)
    steps = parse_length(settings.smooth_for, steps_per_epoch=steps_per_epoch(settings, data), total=total)
    require(steps <= total, f"smoothing for {settings.smooth_for} is {steps} steps and the run has {total}: shorten it")
    smoothing = Smoothing(
        steps, settings.smooth, labels=settings.label_smoothing, softness=settings.softness, skip=settings.skip
    )
    smoothing.check(model, data.blank(2))
    return smoothing


def choose(settings: TuneSettings, model: nn.Module, data: Dataset, within: Mask | None) -> Mask:
    """The mask that the settings ask for, of the network as it is."""
    options = {name: getattr(settings, name) for name in SELECTION}
    if isinstance(settings, ChildSettings) and settings.family in ("anti-random", "partition"):
        dealt = {name: options[name] for name in ("granularity", "target_modules", "exclude_modules", "scope")}
        return partition(model, settings.parts, seed=settings.draw_seed, **dealt)[settings.child % settings.parts]
    if isinstance(settings, ChildSettings) and settings.family == "random":
        return select(model, settings.sparsity, seed=settings.draw_seed, **{**options, "score": "random"})
    if settings.score == LEARNED:
        options["score"] = learned_scores(settings.parent)
    looked_at = score_data(settings, data)
    return select(
        model, settings.sparsity, seed=settings.seed, within=within, data=looked_at, allow_empty_layers=moves(settings), **options
    )  # fmt: skip


def moves(settings: TuneSettings) -> bool:
    """Whether the target is chosen again over all layers before anything is cut: then none is left empty, whatever the first one is.

    >>> given = {"data": "digits", "model": "lenet5", "parent": "", "parent_digest": "", "epochs": 1, "sparsity": 0.9}
    >>> [moves(TuneSettings(method=method, **given)) for method in ("gradual", "temperature-annealing", "rigl")]
    [True, False, False]
    """
    parameters = signature(methods[settings.method]).parameters
    usual = parameters["target"].default if "target" in parameters else "fixed"
    return settings.scope == "global" and (settings.target or usual) == "moving"


def annealing_steps(settings: TuneSettings, per_epoch: int, total: int) -> int:
    """The length of the annealing phase in optimizer steps, checked to fit in the run."""
    steps = parse_length(settings.anneal, steps_per_epoch=per_epoch, total=total)
    require(
        steps <= total,
        f"annealing for {settings.anneal} is {steps} steps and the run has {total}: shorten it or add epochs",
    )
    return steps


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
        result = scores_of(outcome, data) | counts(model, method)
        if peak != 1.0:
            result["peak_lr"] = settings.lr * peak
        if base is not None and RunFolder(settings.parent).done:
            parent_accuracy = RunFolder(settings.parent).result().get("validation", {}).get("accuracy")
        notes = diagnose_run(folder.metrics(), None if method is None else method.target, parent_accuracy)
        if notes:
            result["notes"] = notes
        if method is not None and together.rank() == 0:
            check_sparse(model, method.target)
            method.target.save(folder.mask)
        finish(folder, model, result, outcome)
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


def counts(model: nn.Module, method: Method | None) -> dict[str, Any]:
    parameters: list[Tensor] = list(model.parameters())
    counts: dict[str, Any] = {"parameters": sum(p.numel() for p in parameters)}
    size, kept = (counts["parameters"],) * 2 if method is None else (method.target.size, method.target.kept)
    return counts | {"weights": size, "kept": kept, "nonzeros": sum(int((p != 0).sum()) for p in parameters)}


def check_sparse(model: nn.Module, mask: Mask) -> None:
    """Raise unless every weight outside the mask is exactly 0: the promise that the file is sparse.

    >>> layer = nn.Linear(2, 1)
    >>> check_sparse(layer, Mask({"weight": torch.tensor([[True, True]])}))
    """
    for name, keep in mask.items():
        stray = int((model.get_parameter(name).detach()[~keep] != 0).sum())
        if stray:
            raise LehrError(f"{name} has {stray} weights outside its mask: this is a bug, please report it")
