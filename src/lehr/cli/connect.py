"""`lehr connect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lehr.cli import options, screen


def connect(
    run: Annotated[str, typer.Argument(help="The folder of a run, or a file of weights.")],
    other: Annotated[str, typer.Argument(help="Another one of the same network.")],
    data: options.AnyData = None,
    model: options.AnyModel = None,
    image_size: options.ImageSize = None,
    context: options.Context = None,
    points: options.Points = 30,
    bn_batches: options.LineBatches = 100,
    examples: Annotated[int, typer.Option(help="Training examples to judge on.", rich_help_panel=options.RUN)] = 10_000,
    out: Annotated[
        Path | None, typer.Option(help="Folder for connect.json and the plot.", rich_help_panel=options.RUN)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """The error between two networks: a barrier below 2 points means that training led to one place.

    Example: `lehr connect runs/a runs/b --out runs/between`
    """
    arguments = dict(locals())
    from lehr.base.files import write_json, write_text
    from lehr.recipes.connect import ConnectSettings
    from lehr.recipes.connect import connect as recipe
    from lehr.report.between import line_plot
    from lehr.runs import validated

    settings = validated(ConnectSettings, options.chosen(arguments, ConnectSettings.model_fields))
    result = recipe(settings)
    parts: dict[str, Any] = {part: result[part] for part in settings.parts}
    if out is not None:
        write_json(out / "connect.json", result)
        write_text(out / "connect.svg", line_plot(parts))
    if as_json:
        screen.print_json(result)
        return
    printer = screen.console()
    printer.print(screen.titled(f"from {run} to {other}", _table(parts)))
    screen.notes(result["notes"])
    if out is not None:
        printer.print(f"[dim]plot[/]  {out / 'connect.svg'}", soft_wrap=True)


def _table(parts: dict[str, Any]) -> Table:
    table = Table()
    for heading in ("data", "first", "worst on the line", "second", "barrier", ""):
        table.add_column(heading, justify="left" if heading in ("data", "") else "right")
    for name, part in parts.items():
        errors = [f"{100 * e:.2f} %" for e in (part["errors"][0], max(part["errors"]), part["errors"][-1])]
        told = "connected" if part["connected"] else "not connected"
        table.add_row(name, *errors, f"{100 * part['barrier']:+.2f} points", told)
    return table
