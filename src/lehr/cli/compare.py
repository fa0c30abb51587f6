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
    sparsity: Annotated[str, typer.Option(help="One or several, such as 0.9,0.98.")] = "0.9,0.98",
    methods: Annotated[
        str,
        typer.Option(help="Separated by commas; options after colons: temperature-annealing:target=moving:tau=1."),
    ] = "one-shot,gradual,random-annealing,temperature-annealing",
    seeds: Annotated[int, typer.Option(help="How many: 0, 1, 2, ...")] = 3,
    epochs: Annotated[int, typer.Option(help="For the dense parents.")] = 20,
    tune_epochs: Annotated[int, typer.Option(help="For every tuned row.")] = 20,
    lr: options.Rate = 0.1,
    tune_lrs: Annotated[str, typer.Option(help="Menu of tuning rates; validation chooses for each row.")] = "0.1",
    lr_seeds: Annotated[int | None, typer.Option(help="Try the menu on the first seeds only (default: all).")] = None,
    schedule: options.Schedule = "one-cycle",
    tune_schedule: options.Schedule = "one-cycle",
    anneal: Annotated[str, typer.Option(help="Length of the annealing phase: 0.5 of the run, 500it, 2ep.")] = "0.5",
    score: Annotated[str, typer.Option(help="magnitude or random.")] = "magnitude",
    batch_size: options.BatchSize = 128,
    optimizer: options.Optimizer = "sgd",
    weight_decay: options.WeightDecay = 5e-4,
    precision: options.Precision = "auto",
    threads: options.Threads = 0,
    limit: options.Limit = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the runs (default: one below runs/ named by the settings).")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, each in a process of its own.")] = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare methods from the same parents at the same budget; started again it goes on where it stopped.

    Example: `lehr compare --data digits --model lenet5 --sparsity 0.9,0.98 --seeds 3 --out runs/compare`
    """
    from lehr.recipes.compare import CompareSettings
    from lehr.runs.settings import validated

    values = {
        "data": data, "model": model, "sparsities": options.numbers(sparsity, "sparsity"),
        "methods": tuple(word.strip() for word in methods.split(",")), "seeds": tuple(range(seeds)), "epochs": epochs,
        "tune_epochs": tune_epochs, "lr": lr, "tune_lrs": options.numbers(tune_lrs, "tune-lrs"), "lr_seeds": lr_seeds, "schedule": schedule,
        "tune_schedule": tune_schedule, "anneal": anneal, "score": score, "batch_size": batch_size,
        "optimizer": optimizer, "weight_decay": weight_decay, "precision": precision, "threads": threads or max(1, (os.cpu_count() or 1) // jobs),
        "limit": limit,
    }  # fmt: skip
    settings = validated(CompareSettings, values)
    run(settings, out or settings.folder, jobs=jobs, as_json=as_json, quiet=quiet)


def run(settings: Any, out: Path, *, jobs: int, as_json: bool, quiet: bool) -> None:
    """Run a comparison and print its end; the demo is one too."""
    from lehr.recipes.compare import compare as recipe
    from lehr.recipes.publish import publish
    from lehr.report.table import terminal_table

    rows, cells = recipe(settings, out, jobs=jobs, show=screen.show_bar(quiet, as_json))
    title = f"{settings.model} on {settings.data}"
    files = publish(out, title, rows, cells, settings.model_dump(), ["lehr", *sys.argv[1:]])
    if as_json:
        screen.print_json({"rows": [row.as_dict() for row in rows], "files": files})
        return
    printer = screen.console()
    printer.print(terminal_table(rows, title))
    for name, path in files.items():
        printer.print(f"[dim]{name:>8}[/]  {path}", soft_wrap=True)
