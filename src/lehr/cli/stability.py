"""`lehr stability`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lehr.base.errors import require
from lehr.cli import options, screen
from lehr.cli.small_study import done, threads_of

if TYPE_CHECKING:
    from lehr.analysis.stability import Distance
    from lehr.study.mask_statistics import MaskLayerRow
    from lehr.study.stability import Stability


MEASURING = ("folder", "points", "bn_batches", "as_json", "quiet")


def stability(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="A study that has copies of tickets (default: one is run).")
    ] = None,
    data: options.SomeData = None,
    model: options.SomeModel = None,
    rounds: options.Rounds = 5,
    rate: options.PruneRate = 0.2,
    rewind: Annotated[
        str,
        typer.Option(help="The step to go back to, or several by commas: 0,500it,2ep.", rich_help_panel=options.LEVELS),
    ] = "0",
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
    points: options.Points = 11,
    bn_batches: options.LineBatches = 100,
    seeds: options.Seeds = 1,
    threads: options.Threads = 0,
    out: options.StudyOut = None,
    workers: options.Workers = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """How far apart tickets end up when they are pruned, or see their data in another order, beside random masks.

    Example: `lehr stability --data mnist --model lenet_300_100 --rounds 5 --rewind 0,500it --epochs 5 --out runs/stability`
    """
    arguments = dict(locals())
    from lehr.recipes.connect import ConnectSettings
    from lehr.runs import validated
    from lehr.study.folder import read_study_folder
    from lehr.study.measured import measure
    from lehr.study.stability import stability_study

    validated(ConnectSettings, {"run": "", "other": "", "points": points, "bn_batches": bn_batches})  # before training
    if folder is not None:
        clash = next((name for name in arguments if options.typed(ctx, name) and name not in MEASURING), None)
        require(clash is None, f"{clash} is given and the study in {folder} has its own: leave it out")
        found = read_study_folder(folder)
    else:
        require(
            data is not None and model is not None,
            "there is nothing to train: give --data and --model, or the folder of a study",
        )
        study = stability_study(
            rounds=rounds, rewind=options.words(rewind), seeds=seeds, threads=threads_of(threads, workers),
            **options.others(arguments, "ctx", "rounds", "rewind", *MEASURING),
        )  # fmt: skip
        found, folder, _ = done(study, out, workers, threads=threads, quiet=quiet, as_json=as_json)
    measured = measure(found, folder, points=points, bn_batches=bn_batches)
    if as_json:
        screen.print_json(measured.as_dict())
        return
    printer = screen.console()
    for step in measured.steps:
        title = f"{found.study.title}, rewound to {step}"
        printer.print(screen.titled(title, _table(measured.at(step))))
        if last := measured.last_ticket(step):
            title = f"the ticket of {100 * measured.smallest:.3g} %, rewound to {step}, by layer"
            printer.print(screen.titled(title, _layers(last)))
    screen.notes(measured.left_out)
    for path in (*measured.plots, *folder.glob("report.html")):
        printer.print(f"[dim]{path.stem:>15}[/]  {path}", soft_wrap=True)


def _table(rows: Sequence[Stability]) -> Table:
    table = Table()
    for heading in (
        "weights left",
        "mask",
        "accuracy",
        "pruning: L2",
        "angle",
        "order: L2",
        "angle",
        "barrier, %",
        "seeds",
    ):
        table.add_column(heading, justify="left" if heading == "mask" else "right")
    for i, row in enumerate(rows):
        if i and rows[i - 1].density != row.density:
            table.add_section()
        table.add_row(
            f"{100 * row.density:.3g} %", row.mask, f"{100 * fmean(row.accuracy):.2f} %", *_told(row.pruning), *_told(row.order),
            f"{100 * fmean(row.barrier):.2f}", str(len(row.accuracy)),
        )  # fmt: skip
    return table


def _layers(rows: Sequence[MaskLayerRow]) -> Table:
    table = Table()
    several = any(row.overlap is not None for row in rows)
    for heading in ("layer", "left", *(("alike in two seeds", "by chance") if several else ()), "travel"):
        table.add_column(heading, justify="left" if heading == "layer" else "right", no_wrap=heading != "layer")
    for row in rows:
        alike = () if row.overlap is None else (f"{100 * row.overlap:.1f} %", f"{100 * row.chance:.1f} %")
        table.add_row(
            row.layer, f"{100 * row.density:.3g} %", *alike, "from 0" if row.travel is None else f"{row.travel:.2f}"
        )
    return table


def _told(distances: Sequence[Distance]) -> tuple[str, str]:
    """Mean L2 distance and mean angle."""
    if not distances:
        return "", ""
    return f"{fmean(d.l2 for d in distances):.2f}", f"{fmean(d.angle for d in distances):.1f}°"
