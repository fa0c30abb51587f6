"""`lehr train`."""

from __future__ import annotations

from lehr.cli import options, screen


def train(
    data: options.Data,
    model: options.Model,
    out: options.Out,
    epochs: options.Epochs = 20,
    seed: options.Seed = 0,
    batch_size: options.BatchSize = 128,
    optimizer: options.Optimizer = "sgd",
    lr: options.Rate = 0.1,
    schedule: options.Schedule = "one-cycle",
    momentum: options.Momentum = 0.9,
    weight_decay: options.WeightDecay = 5e-4,
    accumulate: options.Accumulate = 1,
    precision: options.Precision = "auto",
    threads: options.Threads = 0,
    limit: options.Limit = None,
    resume: options.Resume = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a dense network.

    Example: `lehr train --data digits --model lenet5 --epochs 3 --seed 1 --out runs/dense`
    """
    from lehr.recipes.train import train as recipe
    from lehr.runs import TrainSettings, validated

    values = {
        "data": data, "model": model, "epochs": epochs, "seed": seed, "batch_size": batch_size, "optimizer": optimizer,
        "lr": lr, "schedule": schedule, "momentum": momentum, "weight_decay": weight_decay, "accumulate": accumulate,
        "precision": precision, "threads": threads, "limit": limit,
    }  # fmt: skip
    result = recipe(validated(TrainSettings, values), out, resume=resume, show=screen.show_bar(quiet, as_json))
    if as_json:
        screen.print_json(result)
    else:
        screen.console().print(screen.result_table(f"{model} on {data}, dense", result, str(out)))
