"""`lehr train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lehr.cli import options, screen


def train(
    out: options.Out,
    data: options.AnyData = None,
    model: options.AnyModel = None,
    parent: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Start from this run's weights, or from a .safetensors or .pt file.",
            rich_help_panel=options.DATA,
        ),
    ] = None,
    init: Annotated[
        str,
        typer.Option(help="How weights begin: default, zero (ZerO) or zero-orthogonal.", rich_help_panel=options.DATA),
    ] = "default",
    limit: options.Limit = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    context: options.Context = None,
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
    average: options.Average = 0.0,
    bn_batches: options.BnBatches = None,
    precision: options.Precision = None,
    learn_mask: options.LearnMask = None,
    mask_polarise: options.MaskPolarise = None,
    mask_warm_up: options.MaskWarmUp = None,
    mask_ramp: options.MaskRamp = None,
    mask_floor: options.MaskFloor = None,
    mask_straight_through: options.MaskStraight = None,
    mask_lr: options.MaskRate = None,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    tracker: options.Trackers = None,
    resume: options.Resume = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a dense network.

    Example: `lehr train --data digits --model lenet5 --epochs 3 --seed 1 --out runs/dense`
    """
    arguments = dict(locals())
    from lehr.recipes.train import train as recipe
    from lehr.recipes.train import train_settings
    from lehr.runs import TrainSettings

    settings = train_settings(parent, options.chosen(arguments, TrainSettings.model_fields.keys() - {"parent"}))
    result = recipe(settings, out, resume=resume, show=screen.show_bar(quiet, as_json), trackers=tracker or ())
    screen.end(f"{settings.model} on {settings.data}, dense", result, out, as_json=as_json)
