"""`lehr stability`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from lehr.cli import options, screen
from lehr.cli.small_study import command, done, threads_of
from lehr.cli.ticket import SETTINGS

if TYPE_CHECKING:
    from lehr.study.stability import Stability


def stability(
    data: options.Data,
    model: options.Model,
    rounds: options.Rounds = 5,
    rate: options.PruneRate = 0.2,
    rewind: options.Rewind = "0",
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
    """How far apart tickets end up when they are pruned, or see their data in another order, beside random masks.

    Example: `lehr stability --data mnist --model lenet_300_100 --rounds 5 --rewind 500it --epochs 5 --out runs/stability`
    """
    arguments = dict(locals())
    from lehr.base.files import write_json, write_text
    from lehr.report.between import stability_plot
    from lehr.study.publish import publish
    from lehr.study.stability import BRANCHES
    from lehr.study.stability import stability as measure
    from lehr.study.ticket import tickets

    study = tickets(
        rounds=rounds,
        rate=rate,
        rewind=rewind,
        branches=BRANCHES,
        seeds=seeds,
        threads=threads_of(threads, workers),
        **options.chosen(arguments, SETTINGS),
    )
    found, folder = done(study, out, workers, quiet=quiet, as_json=as_json)
    publish(found, folder, command())
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
