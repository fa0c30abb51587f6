"""`lehr compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from lehr.cli import options, screen
from lehr.cli.small_study import check_ended, done, threads_of


def compare(
    data: options.Data,
    model: options.Model,
    limit: options.Limit = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    context: options.Context = None,
    sparsity: Annotated[
        str | None,
        typer.Option(
            help="One or several, such as 0.9,0.98 (the default); N:M brings its own.", rich_help_panel=options.MASK
        ),
    ] = None,
    granularity: options.Granularity = "unstructured",
    score: options.Score = "magnitude",
    scope: options.Scope = "global",
    distribution: options.Distribution = "uniform",
    target_modules: options.TargetModules = None,
    exclude_modules: options.ExcludeModules = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Separated by commas; options after colons: temperature-annealing:target=moving:tau=1.",
            rich_help_panel=options.PATH,
        ),
    ] = "one-shot,gradual,random-annealing,temperature-annealing",
    anneal: Annotated[
        str, typer.Option(help="Length of the phase: 0.5 of the run, 500it, 2ep.", rich_help_panel=options.PATH)
    ] = "0.5",
    epochs: Annotated[int, typer.Option(help="For the dense parents.", rich_help_panel=options.TRAINING)] = 20,
    tune_epochs: Annotated[int, typer.Option(help="For every tuned row.", rich_help_panel=options.TRAINING)] = 20,
    lr: options.Rate = 0.1,
    tune_lrs: options.TuneRates = "0.1",
    lr_seeds: Annotated[
        int | None,
        typer.Option(help="Try the menu on the first seeds only (default: all).", rich_help_panel=options.TRAINING),
    ] = None,
    schedule: options.Schedule = "one-cycle",
    tune_schedule: options.Schedule = "one-cycle",
    optimizer: options.Optimizer = None,
    batch_size: options.BatchSize = None,
    momentum: options.Momentum = None,
    weight_decay: options.WeightDecay = None,
    distill: options.Distill = 0.0,
    distill_temperature: options.DistillTemperature = 2.0,
    average: options.Average = 0.0,
    bn_batches: options.BnBatches = None,
    precision: options.Precision = None,
    seeds: options.Seeds = 3,
    threads: options.Threads = 0,
    out: options.StudyOut = None,
    workers: options.Workers = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare methods from the same parents at the same budget; started again it goes on where it stopped.

    Example: `lehr compare --data digits --model lenet5 --sparsity 0.9,0.98 --seeds 3 --out runs/compare`
    """
    arguments = dict(locals())
    from lehr.study.compare import comparison

    given = options.others(arguments, "methods", "sparsity", "tune_lrs", "lr_seeds")
    study = comparison(
        options.words(methods),
        sparsity=None if sparsity is None else options.numbers(sparsity, "sparsity"),
        seeds=seeds,
        tune_lr=options.numbers(tune_lrs, "tune-lrs"),
        lr_seeds=lr_seeds,
        threads=threads_of(threads, workers),
        **given,
    )
    found, _, files = done(study, out, workers, threads=threads, quiet=quiet, as_json=as_json)
    screen.findings(found, files, as_json=as_json)
    check_ended(found)
