"""`lehr ticket`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lehr.cli import options, screen

LEVELS = "Levels"


def ticket(
    data: options.Data,
    model: options.Model,
    rounds: Annotated[
        int, typer.Option(help="Levels; more can be added to the same --out later.", rich_help_panel=LEVELS)
    ] = 5,
    rate: Annotated[
        float, typer.Option(help="Share of the remaining weights that goes at each.", rich_help_panel=LEVELS)
    ] = 0.2,
    rewind: Annotated[
        str, typer.Option(help="The step to go back to: 0, 500it, 2ep or 1ep100it.", rich_help_panel=LEVELS)
    ] = "0",
    mode: Annotated[
        str,
        typer.Option(
            help="What goes back: weights, the learning rate only (rate), or nothing (fine-tune).",
            rich_help_panel=LEVELS,
        ),
    ] = "weights",
    branches: Annotated[
        str,
        typer.Option(help="Controls at each level: shuffle, invert, reinit, order; by commas.", rich_help_panel=LEVELS),
    ] = "",
    scope: options.Scope = "global",
    target_modules: options.TargetModules = None,
    exclude_modules: options.ExcludeModules = None,
    limit: options.Limit = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    context: options.Context = None,
    epochs: Annotated[
        int, typer.Option(help="Of the dense network; levels train from --rewind on.", rich_help_panel=options.TRAINING)
    ] = 20,
    lr: options.Rate = 0.1,
    schedule: options.Schedule = "one-cycle",
    optimizer: options.Optimizer = None,
    batch_size: options.BatchSize = None,
    momentum: options.Momentum = None,
    weight_decay: options.WeightDecay = None,
    precision: options.Precision = None,
    seeds: Annotated[int, typer.Option(help="How many: 0, 1, 2, ...", rich_help_panel=options.RUN)] = 1,
    threads: options.Threads = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder (default: one below runs/ named by the settings).", rich_help_panel=options.RUN),
    ] = None,
    workers: options.Workers = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find lottery tickets: prune, rewind, train again, level by level; started again it goes on where it stopped.

    Example: `lehr ticket --data mnist --model lenet_300_100 --rounds 5 --rate 0.2 --rewind 500it --epochs 5 --out runs/ticket`
    """
    arguments = dict(locals())
    from lehr.study.compare import default_folder
    from lehr.study.run import Workers, run_study
    from lehr.study.ticket import tickets

    hands = Workers(workers)
    study = tickets(
        rounds=rounds,
        rate=rate,
        rewind=rewind,
        mode=mode,
        branches=options.words(branches),
        seeds=seeds,
        threads=threads or max(1, (os.cpu_count() or 1) // workers),
        **options.chosen(arguments, SETTINGS),
    )
    folder = out or default_folder(study)
    found = run_study(study, folder, workers=hands, show=screen.show_bar(quiet, as_json))
    screen.findings(found, folder, ["lehr", *sys.argv[1:]], as_json=as_json)


SETTINGS = (
    "data", "model", "limit", "image_size", "augment", "context", "scope", "target_modules", "exclude_modules", "epochs", "lr", "schedule",
    "optimizer", "batch_size", "momentum", "weight_decay", "precision",
)  # fmt: skip
