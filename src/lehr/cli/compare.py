"""`lehr compare`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lehr.cli import options, screen


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
    tune_lrs: Annotated[
        str,
        typer.Option(help="Menu of tuning rates; validation chooses for each row.", rich_help_panel=options.TRAINING),
    ] = "0.1",
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
    seeds: Annotated[int, typer.Option(help="How many: 0, 1, 2, ...", rich_help_panel=options.RUN)] = 3,
    threads: options.Threads = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the runs (default: one below runs/ named by the settings).", rich_help_panel=options.RUN
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs at a time, each in a process of its own.", rich_help_panel=options.RUN)
    ] = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare methods from the same parents at the same budget; started again it goes on where it stopped.

    Example: `lehr compare --data digits --model lenet5 --sparsity 0.9,0.98 --seeds 3 --out runs/compare`
    """
    arguments = dict(locals())
    from lehr.recipes.compare import CompareSettings
    from lehr.runs.settings import validated

    values = options.chosen(arguments, CompareSettings.model_fields) | {
        "methods": tuple(word.strip() for word in methods.split(",")),
        "seeds": seeds,
        "tune_lrs": options.numbers(tune_lrs, "tune-lrs"),
        "threads": threads or max(1, (os.cpu_count() or 1) // jobs),
    }
    if sparsity is not None:
        values["sparsities"] = options.numbers(sparsity, "sparsity")
    settings = validated(CompareSettings, values)
    run(settings, out or settings.folder, jobs=jobs, as_json=as_json, quiet=quiet)


def run(settings: Any, out: Path, *, jobs: int, as_json: bool, quiet: bool) -> None:
    """Run a comparison and print its end; the demo is one too."""
    from lehr.recipes.compare import compare as recipe
    from lehr.recipes.publish import publish
    from lehr.report.diagnosis import diagnose_rows
    from lehr.report.table import terminal_table

    rows, cells = recipe(settings, out, jobs=jobs, show=screen.show_bar(quiet, as_json))
    title = f"{settings.model} on {settings.data}"
    files = publish(out, title, rows, cells, settings.model_dump(), ["lehr", *sys.argv[1:]])
    notes = diagnose_rows(rows)
    if as_json:
        screen.print_json({"rows": [row.as_dict() for row in rows], "notes": notes, "files": files})
        return
    printer = screen.console()
    printer.print(terminal_table(rows, title))
    screen.notes(notes)
    for name, path in files.items():
        printer.print(f"[dim]{name:>8}[/]  {path}", soft_wrap=True)
