"""`lehr ticket`."""

from __future__ import annotations

from typing import Annotated

import typer

from lehr.cli import options, screen
from lehr.cli.small_study import command, done, threads_of


def ticket(
    data: options.Data,
    model: options.Model,
    rounds: options.Rounds = 5,
    rate: options.PruneRate = 0.2,
    rewind: options.Rewind = "0",
    mode: Annotated[
        str,
        typer.Option(
            help="What goes back: weights, the learning rate only (rate), or nothing (fine-tune).",
            rich_help_panel=options.LEVELS,
        ),
    ] = "weights",
    branches: Annotated[
        str,
        typer.Option(
            help="Controls at each level: shuffle, invert, reinit, order; by commas.", rich_help_panel=options.LEVELS
        ),
    ] = "",
    scope: options.Scope = "global",
    target_modules: options.TargetModules = None,
    exclude_modules: options.ExcludeModules = None,
    limit: options.Limit = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    context: options.Context = None,
    epochs: options.DenseEpochs = 20,
    lr: options.Rate = 0.1,
    schedule: options.Schedule = "one-cycle",
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
    """Find lottery tickets: prune, rewind, train again, level by level; started again it goes on where it stopped.

    Example: `lehr ticket --data mnist --model lenet_300_100 --rounds 5 --rate 0.2 --rewind 500it --epochs 5 --out runs/ticket`
    """
    arguments = dict(locals())
    from lehr.study.ticket import tickets

    study = tickets(
        rounds=rounds,
        rate=rate,
        rewind=rewind,
        mode=mode,
        branches=options.words(branches),
        seeds=seeds,
        threads=threads_of(threads, workers),
        **options.chosen(arguments, SETTINGS),
    )
    found, folder = done(study, out, workers, quiet=quiet, as_json=as_json)
    screen.findings(found, folder, command(), as_json=as_json)


SETTINGS = (
    "data", "model", "limit", "image_size", "augment", "context", "scope", "target_modules", "exclude_modules", "epochs", "lr", "schedule",
    "optimizer", "batch_size", "momentum", "weight_decay", "precision",
)  # fmt: skip
