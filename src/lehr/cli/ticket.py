"""`lehr ticket`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from lehr.cli import options, screen
from lehr.cli.small_study import check_ended, done, threads_of


def ticket(
    data: options.Data,
    model: options.Model,
    rounds: options.Rounds = 5,
    rate: options.PruneRate = 0.2,
    rewind: Annotated[
        str,
        typer.Option(
            help="The step to go back to: 0, 500it, 2ep, 1ep100it; auto finds the earliest that is stable.",
            rich_help_panel=options.LEVELS,
        ),
    ] = "0",
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
            help="At each level, by commas: shuffle, invert, reinit, order, shuffle-order, anneal, rewind:STEP.",
            rich_help_panel=options.LEVELS,
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
    warmup: options.Warmup = None,
    drops: options.Drops = None,
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
    from lehr.study.board import Workers
    from lehr.study.rewind import rewound

    given = options.others(arguments, "rounds", "rewind", "mode", "branches") | {
        "threads": threads_of(threads, workers)
    }
    plan = rewound(
        rewind, out, branches=options.words(branches), seeds=seeds, mode=mode, rounds=rounds,
        workers=Workers(workers), as_before=not threads, show=screen.show_bar(quiet, as_json), **given,
    )  # fmt: skip
    if plan.step and not as_json:
        screen.notes(
            [f"{branch} is where the levels go back to: the branch is the ticket itself" for branch in plan.same]
        )
        tried = ", ".join(f"{100 * probe.barrier:.1f} from {probe.start}" for probe in plan.probes)
        screen.console().print(f"rewinding to [bold]{plan.step}[/]; points between two orders of the data: {tried}")
    found, _, files = done(plan.study, plan.out, workers, threads=threads, quiet=quiet, as_json=as_json)
    search = {"rewind": plan.step, "probes": [asdict(probe) for probe in plan.probes], "same": plan.same}
    screen.findings(found, files, as_json=as_json, besides=search if plan.step else {})
    check_ended(found)
