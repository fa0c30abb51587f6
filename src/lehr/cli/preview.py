"""`lehr preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lehr.cli import options, screen
from lehr.cli.tune import All, Anneal, MethodName, Realise, ReselectEvery, Sparsity, Target, Tau, TauSchedule

LINES = 11


def preview(
    sparsity: Sparsity = None,
    granularity: options.Granularity = "unstructured",
    method: MethodName = "gradual",
    anneal: Anneal = "0.5",
    tau: Tau = 0.5,
    tau_schedule: TauSchedule = None,
    target: Target = None,
    all_weights: All = False,
    realise: Realise = "sample",
    reselect_every: ReselectEvery = None,
    epochs: options.Epochs = 20,
    steps_per_epoch: Annotated[
        int, typer.Option(min=1, help="Training examples over batch size.", rich_help_panel=options.TRAINING)
    ] = 100,
    lr: options.Rate = 0.1,
    schedule: options.Schedule = "one-cycle",
    seed: options.Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write the plot to this SVG file.", rich_help_panel=options.RUN)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Density, temperature and learning rate over a run, before anything is spent.

    Example: `lehr preview --method temperature-annealing --sparsity 0.98 --tau 0.5 --tau-schedule log-density`
    """
    arguments = dict(locals())
    from lehr.base.files import write_text
    from lehr.recipes.preview import as_rows
    from lehr.recipes.preview import preview as recipe
    from lehr.report.curves import preview_plot
    from lehr.runs import TuneSettings, validated

    values = options.chosen(arguments, TuneSettings.model_fields)
    settings = validated(TuneSettings, {"data": "", "model": "", "parent": "", "parent_digest": "", **values})
    moments = recipe(settings, steps_per_epoch)
    title = f"{method} to {100 * settings.sparsity:.4g} % over {anneal} of {epochs} epochs"
    if out is not None:
        write_text(out, preview_plot(moments, title))
    if as_json:
        screen.print_json({"settings": settings.model_dump(exclude_none=True), "moments": as_rows(moments)})
        return
    screen.console().print(_table(moments, title))
    if out is not None:
        screen.console().print(f"[dim]plot[/]  {out}", soft_wrap=True)


def _table(moments: list[Any], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("epoch", "step", "take part %", "", "target %", "chance of the others", "lr"):
        table.add_column(heading, justify="left" if not heading else "right")
    last = len(moments) - 1
    for moment in (moments[round(i * last / (LINES - 1))] for i in range(LINES)):
        bar = "█" * max(1, round(24 * moment.density))
        table.add_row(
            f"{moment.epoch:.1f}", f"{moment.step:,}", f"{100 * moment.density:.2f}", f"[cyan]{bar}[/]",
            f"{100 * moment.target:.2f}", f"{moment.temperature:.4f}", f"{moment.lr:.4g}",
        )  # fmt: skip
    return table
