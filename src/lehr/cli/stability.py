"""`lehr stability`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lehr.cli import options, screen
from lehr.cli.ticket import LEVELS, SETTINGS

if TYPE_CHECKING:
    from lehr.study.stability import Stability


def stability(
    data: options.Data,
    model: options.Model,
    rounds: Annotated[int, typer.Option(help="Levels.", rich_help_panel=LEVELS)] = 5,
    rate: Annotated[
        float, typer.Option(help="Share of the remaining weights that goes at each.", rich_help_panel=LEVELS)
    ] = 0.2,
    rewind: Annotated[
        str, typer.Option(help="The step to go back to: 0, 500it, 2ep or 1ep100it.", rich_help_panel=LEVELS)
    ] = "0",
    scope: options.Scope = "global",
    target_modules: options.TargetModules = None,
    exclude_modules: options.ExcludeModules = None,
    limit: options.Limit = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    context: options.Context = None,
    epochs: Annotated[int, typer.Option(help="Of the dense network.", rich_help_panel=options.TRAINING)] = 20,
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
        typer.Option(
            help="Folder; that of a `lehr ticket` with the same settings is gone on with.", rich_help_panel=options.RUN
        ),
    ] = None,
    workers: options.Workers = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """How far apart tickets end up when they are pruned, or see their data in another order, beside random masks.

    Example: `lehr stability --data mnist --model lenet_300_100 --rounds 5 --rewind 500it --epochs 5 --out runs/stability`
    """
    arguments = dict(locals())
    from lehr.base.files import write_json, write_text
    from lehr.report.between import stability_plot
    from lehr.study.compare import default_folder
    from lehr.study.publish import publish
    from lehr.study.run import Workers, run_study
    from lehr.study.stability import BRANCHES
    from lehr.study.stability import stability as measure
    from lehr.study.ticket import tickets

    hands = Workers(workers)
    study = tickets(
        rounds=rounds,
        rate=rate,
        rewind=rewind,
        branches=BRANCHES,
        seeds=seeds,
        threads=threads or max(1, (os.cpu_count() or 1) // workers),
        **options.chosen(arguments, SETTINGS),
    )
    folder = out or default_folder(study)
    found = run_study(study, folder, workers=hands, show=screen.show_bar(quiet, as_json))
    publish(found, folder, ["lehr", *sys.argv[1:]])
    rows = measure(found)
    told = [row.as_dict() for row in rows]
    write_json(folder / "stability.json", told)
    write_text(folder / "stability.svg", stability_plot(told))
    if as_json:
        screen.print_json({"rows": told})
        return
    printer = screen.console()
    printer.print(screen.titled(f"{study.title}, rewound to {rewind}, {seeds} seed(s)", _table(rows)))
    for name in ("stability.svg", "report.html"):
        printer.print(f"[dim]{name.partition('.')[0]:>9}[/]  {folder / name}", soft_wrap=True)


def _table(rows: Sequence[Stability]) -> Table:
    table = Table()
    for heading in ("weights left", "mask", "accuracy", "pruning: L2", "angle", "order: L2", "angle"):
        table.add_column(heading, justify="left" if heading == "mask" else "right")
    for i, row in enumerate(rows):
        if i and rows[i - 1].density != row.density:
            table.add_section()
        table.add_row(
            f"{100 * row.density:.3g} %", row.mask, f"{100 * row.accuracy:.2f} %", f"{row.pruning.l2:.2f}", f"{row.pruning.angle:.1f}°",
            f"{row.order.l2:.2f}", f"{row.order.angle:.1f}°",
        )  # fmt: skip
    return table
