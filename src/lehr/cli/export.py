"""`lehr export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lehr.cli import options, screen


def export(
    run: Annotated[str | None, typer.Argument(help="The folder of a run.")] = None,
    weights: options.Weights = None,
    data: options.AnyData = None,
    model: options.AnyModel = None,
    image_size: options.ImageSize = None,
    context: options.Context = None,
    format: Annotated[str, typer.Option(help="onnx (needs lehr[onnx]) or safetensors; both are dense.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="The file (default: network.FORMAT in the run folder).", rich_help_panel=options.RUN),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a network for other programs, dense, with its zeros; for a small file see `lehr pack`.

    Example: `lehr export runs/small --format onnx --out small.onnx`
    """
    arguments = dict(locals())
    from lehr.recipes.export import ExportSettings
    from lehr.recipes.export import export as recipe
    from lehr.runs import validated

    source = screen.one_of(run, weights)
    values = options.chosen(arguments, ExportSettings.model_fields) | {"run": source}
    settings = validated(ExportSettings, values)
    if out is None:
        path = Path(source)
        out = (path if path.is_dir() else path.parent) / f"network.{settings.format}"
    result = recipe(settings, out)
    if as_json:
        screen.print_json(result)
        return
    screen.console().print(screen.titled(result["file"], sizes(result)))
    screen.notes(result.get("notes", ()))


def sizes(result: dict[str, Any]) -> Table:
    """What an exported file weighs, and how far it is from torch."""
    table = Table(show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("file", f"{result['bytes']:,} bytes")
    table.add_row("nonzeros", f"{result['nonzeros']:,} of {result['weights']:,}")
    if "difference" in result:
        table.add_row("largest difference from torch", f"{result['difference']:.1g} of the largest output")
    return table
