"""`lehr pipeline`."""

from __future__ import annotations

from typing import Annotated

import typer

from lehr.cli import options, screen
from lehr.cli.small_study import check_ended, done, threads_of

STAGES = "Stages"


def pipeline(
    data: options.Data,
    model: options.Model,
    sparsity: Annotated[str, typer.Option(help="One or several, such as 0.9,0.99.", rich_help_panel=options.MASK)],
    stages: Annotated[
        str, typer.Option(help="Any of zero, mask, magnitude and smooth.", rich_help_panel=STAGES)
    ] = "zero,mask,magnitude,smooth",
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate", help="Also without each stage, and each with magnitude alone.", rich_help_panel=STAGES
        ),
    ] = False,
    learn_mask: options.LearnMask = None,
    mask_polarise: options.MaskPolarise = None,
    mask_warm_up: options.MaskWarmUp = None,
    mask_ramp: options.MaskRamp = None,
    mask_floor: options.MaskFloor = None,
    mask_straight_through: options.MaskStraight = None,
    mask_lr: options.MaskRate = None,
    smooth: options.Smooth = None,
    smooth_for: options.SmoothFor = None,
    label_smoothing: options.LabelSmoothing = None,
    softness: options.Softness = None,
    skip: options.Skip = None,
    limit: options.Limit = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    context: options.Context = None,
    scope: options.Scope = "global",
    distribution: options.Distribution = "uniform",
    method: Annotated[
        str,
        typer.Option(
            help="Of the tuning, options after colons: temperature-annealing:target=moving.",
            rich_help_panel=options.PATH,
        ),
    ] = "one-shot",
    epochs: options.DenseEpochs = 20,
    tune_epochs: Annotated[int, typer.Option(help="After pruning.", rich_help_panel=options.TRAINING)] = 20,
    lr: options.Rate = 0.1,
    tune_lrs: options.TuneRates = "0.1",
    schedule: options.Schedule = "one-cycle",
    tune_schedule: options.Schedule = "one-cycle",
    optimizer: options.Optimizer = None,
    batch_size: options.BatchSize = None,
    momentum: options.Momentum = None,
    weight_decay: options.WeightDecay = None,
    precision: options.Precision = None,
    seeds: options.Seeds = 1,
    threads: options.Threads = 0,
    out: options.StudyOut = None,
    workers: options.Workers = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train, prune and tune end to end; started again it goes on where it stopped.

    Example: `lehr pipeline --data mnist --model lenet_300_100 --sparsity 0.99 --epochs 5 --tune-epochs 5 --out runs/pipeline`
    """
    arguments = dict(locals())
    from lehr.study.pipeline import pipeline as recipe

    study = recipe(
        options.words(stages),
        sparsity=options.numbers(sparsity, "sparsity"),
        seeds=seeds,
        ablate=ablate,
        tune_lr=options.numbers(tune_lrs, "tune-lrs"),
        method=method,
        smooth=None if smooth is None else options.words(smooth),
        threads=threads_of(threads, workers),
        **options.others(arguments, "stages", "sparsity", "ablate", "tune_lrs", "method", "smooth"),
    )
    found, _, files = done(study, out, workers, threads=threads, quiet=quiet, as_json=as_json)
    screen.findings(found, files, as_json=as_json)
    check_ended(found)
