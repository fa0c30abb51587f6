"""`lehr tune` and `lehr prune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lehr.cli import options, screen

From = Annotated[Path, typer.Option("--from", help="The dense run to start from.")]
Sparsity = Annotated[float, typer.Option(help="Fraction of the weights to leave out, in [0, 1).")]
Score = Annotated[str, typer.Option(help="Importance of a weight: magnitude or random.")]
Scope = Annotated[str, typer.Option(help="Rank weights over the whole network (global) or by layer.")]
Distribution = Annotated[str, typer.Option(help="With --scope layer: uniform or erk.")]


def prune(
    parent: From,
    sparsity: Sparsity,
    out: options.Out,
    score: Score = "magnitude",
    scope: Scope = "global",
    distribution: Distribution = "uniform",
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Cut a trained network at once, without tuning, and judge it.

    Example: `lehr prune --from runs/dense --sparsity 0.9 --out runs/cut`
    """
    values = {
        "method": "one-shot", "sparsity": sparsity, "score": score, "scope": scope, "distribution": distribution,
        "seed": seed, "epochs": 0,
    }  # fmt: skip
    _run(parent, values, out, "pruned, not tuned", resume=False, as_json=as_json, quiet=True)


def tune(
    parent: From,
    sparsity: Sparsity,
    out: options.Out,
    method: Annotated[
        str, typer.Option(help="one-shot, iterative, gradual, random-annealing or temperature-annealing.")
    ] = "gradual",
    epochs: options.Epochs = 20,
    anneal: Annotated[
        str, typer.Option(help="Length of the annealing phase: 0.5 of the run, 500it, 2ep or 1ep100it.")
    ] = "0.5",
    tau: Annotated[float, typer.Option(help="Temperature at the start of temperature annealing.")] = 0.5,
    tau_schedule: Annotated[
        str | None, typer.Option(help="linear, cosine, exponential, cubic or log-density (default: cosine).")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="fixed: the chosen weights. moving: chosen again by magnitude on the way."),
    ] = None,
    all_weights: Annotated[bool, typer.Option("--all-weights", help="Kept weights are stochastic too.")] = False,
    realise: Annotated[str, typer.Option(help="sample weights in and out, or fade them by the mean.")] = "sample",
    inactive: Annotated[
        str, typer.Option(help="Weights that took no part: hold them, or let momentum and decay move them.")
    ] = "hold",
    reselect_every: Annotated[int | None, typer.Option(help="Steps between re-selections (20 in the phase).")] = None,
    score: Score = "magnitude",
    scope: Scope = "global",
    distribution: Distribution = "uniform",
    seed: options.Seed = 0,
    lr: options.Rate = 0.1,
    schedule: options.Schedule = "one-cycle",
    optimizer: Annotated[str | None, typer.Option(help="sgd, adam or adamw (default: the parent's).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: the parent's.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Default: the parent's.")] = None,
    accumulate: options.Accumulate = 1,
    precision: Annotated[str | None, typer.Option(help="Default: the parent's.")] = None,
    threads: options.Threads = 0,
    resume: options.Resume = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Tune a trained network down into a sparse subnetwork of itself.

    Example: `lehr tune --from runs/dense --sparsity 0.95 --method temperature-annealing --epochs 8 --out runs/small`
    """
    values = {
        "sparsity": sparsity, "method": method, "epochs": epochs, "anneal": anneal, "tau": tau,
        "tau_schedule": tau_schedule, "target": target, "all_weights": all_weights, "realise": realise,
        "inactive": inactive, "reselect_every": reselect_every, "score": score, "scope": scope,
        "distribution": distribution, "seed": seed, "lr": lr, "schedule": schedule, "accumulate": accumulate,
        "threads": threads,
    }  # fmt: skip
    inherited = {
        "optimizer": optimizer, "batch_size": batch_size, "weight_decay": weight_decay, "precision": precision
    }  # fmt: skip
    values |= {name: value for name, value in inherited.items() if value is not None}
    _run(parent, values, out, method, resume=resume, as_json=as_json, quiet=quiet)


def _run(
    parent: Path, values: dict[str, Any], out: Path, what: str, *, resume: bool, as_json: bool, quiet: bool
) -> None:
    from lehr.recipes.tune import tune as recipe
    from lehr.recipes.tune import tune_settings

    settings = tune_settings(parent, values)
    result = recipe(settings, out, resume=resume, show=screen.show_bar(quiet, as_json))
    if as_json:
        screen.print_json(result)
    else:
        title = f"{settings.model} on {settings.data}, {100 * settings.sparsity:.4g} % sparse, {what}"
        screen.console().print(screen.result_table(title, result, str(out)))
