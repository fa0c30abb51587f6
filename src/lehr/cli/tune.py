"""`lehr tune` and `lehr prune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lehr.cli import options, screen

PANEL = options.PATH
Sparsity = Annotated[
    float | None,
    typer.Option(help="Fraction to leave out, in [0, 1); N:M brings its own.", rich_help_panel=options.MASK),
]

MethodName = Annotated[
    str,
    typer.Option(
        help="one-shot, iterative, gradual, random-annealing, temperature-annealing, stochastic-threshold, set, rigl, ac-dc, or dense (the control).",
        rich_help_panel=PANEL,
    ),
]
Anneal = Annotated[
    str, typer.Option(help="Length of the phase: 0.5 of the run, 500it, 2ep or 1ep100it.", rich_help_panel=PANEL)
]
Tau = Annotated[float, typer.Option(help="Temperature at the start of temperature annealing.", rich_help_panel=PANEL)]
TauSchedule = Annotated[
    str | None,
    typer.Option(help="linear, cosine, exponential, cubic or log-density (default: cosine).", rich_help_panel=PANEL),
]
Target = Annotated[
    str | None,
    typer.Option(
        help="fixed: the chosen weights. moving: chosen again by magnitude on the way.", rich_help_panel=PANEL
    ),
]
All = Annotated[bool, typer.Option("--all-weights", help="Kept weights are stochastic too.", rich_help_panel=PANEL)]
Realise = Annotated[
    str, typer.Option(help="sample weights in and out, or fade them by the mean.", rich_help_panel=PANEL)
]
Inactive = Annotated[
    str,
    typer.Option(
        help="Weights that took no part: hold them, or let momentum and decay move them.", rich_help_panel=PANEL
    ),
]
ReselectEvery = Annotated[
    int | None, typer.Option(help="Steps between re-selections (20 in the phase).", rich_help_panel=PANEL)
]

Drop = Annotated[
    float,
    typer.Option(help="Share of the weights that the first change of set or rigl takes out.", rich_help_panel=PANEL),
]
Cycles = Annotated[int, typer.Option(help="How often ac-dc is dense.", rich_help_panel=PANEL)]


def prune(
    parent: options.From,
    out: options.Out,
    data: options.AnyData = None,
    model: options.AnyModel = None,
    limit: options.Limit = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    context: options.Context = None,
    sparsity: Sparsity = None,
    granularity: options.Granularity = "unstructured",
    score: options.Score = "magnitude",
    scope: options.Scope = "global",
    distribution: options.Distribution = "uniform",
    target_modules: options.TargetModules = None,
    exclude_modules: options.ExcludeModules = None,
    bn_batches: options.BnBatches = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Cut a trained network at once, without tuning, and judge it.

    Example: `lehr prune --from runs/dense --sparsity 0.9 --out runs/cut`
    """
    values = {**locals(), "method": "one-shot", "epochs": 0}
    _run(parent, values, out, "pruned, not tuned", trackers=(), resume=False, as_json=as_json, quiet=True)


def tune(
    parent: options.From,
    out: options.Out,
    data: options.AnyData = None,
    model: options.AnyModel = None,
    limit: options.Limit = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    context: options.Context = None,
    sparsity: Sparsity = None,
    granularity: options.Granularity = "unstructured",
    score: options.Score = "magnitude",
    scope: options.Scope = "global",
    distribution: options.Distribution = "uniform",
    target_modules: options.TargetModules = None,
    exclude_modules: options.ExcludeModules = None,
    method: MethodName = "gradual",
    anneal: Anneal = "0.5",
    tau: Tau = 0.5,
    tau_schedule: TauSchedule = None,
    target: Target = None,
    all_weights: All = False,
    realise: Realise = "sample",
    inactive: Inactive = "hold",
    reselect_every: ReselectEvery = None,
    drop: Drop = 0.3,
    cycles: Cycles = 4,
    epochs: options.Epochs = 20,
    lr: options.Rate = 0.1,
    schedule: options.Schedule = "one-cycle",
    warmup: options.Warmup = None,
    drops: options.Drops = None,
    optimizer: options.Optimizer = None,
    batch_size: options.BatchSize = None,
    momentum: options.Momentum = None,
    weight_decay: options.WeightDecay = None,
    accumulate: options.Accumulate = 1,
    distill: options.Distill = 0.0,
    distill_temperature: options.DistillTemperature = 2.0,
    average: options.Average = 0.0,
    bn_batches: options.BnBatches = None,
    precision: options.Precision = None,
    smooth: options.Smooth = None,
    smooth_for: options.SmoothFor = None,
    label_smoothing: options.LabelSmoothing = None,
    softness: options.Softness = None,
    skip: options.Skip = None,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    tracker: options.Trackers = None,
    resume: options.Resume = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Tune a trained network down into a sparse subnetwork of itself.

    Example: `lehr tune --from runs/dense --sparsity 0.95 --method temperature-annealing --epochs 8 --out runs/small`
    """
    values = dict(locals())
    _run(parent, values, out, method, trackers=tracker or (), resume=resume, as_json=as_json, quiet=quiet)


def _run(
    parent: Path,
    values: dict[str, Any],
    out: Path,
    what: str,
    *,
    trackers: Any,
    resume: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from lehr.recipes.tune import tune as recipe
    from lehr.recipes.tune import tune_settings
    from lehr.runs import TuneSettings

    settings = tune_settings(parent, options.chosen(values, TuneSettings.model_fields.keys() - {"parent"}))
    show = screen.show_bar(quiet, as_json)
    result = recipe(settings, out, resume=resume, show=show, trackers=trackers)
    kind = "" if settings.granularity == "unstructured" else f" ({settings.granularity})"
    title = f"{settings.model} on {settings.data}, {100 * settings.sparsity:.4g} % sparse{kind}, {what}"
    screen.end(title, result, out, as_json=as_json)
