"""`lehr bench`."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer
from rich.table import Table

from lehr.cli import options, screen

HOW = "How it is measured"


def bench(
    run: Annotated[str | None, typer.Argument(help="The folder of a run, or a .lehr file.")] = None,
    weights: options.Weights = None,
    data: options.AnyData = None,
    model: options.AnyModel = None,
    image_size: options.ImageSize = None,
    context: options.Context = None,
    against: Annotated[
        str, typer.Option(help="torch, torch.compile, onnxruntime, openvino; by commas.", rich_help_panel=HOW)
    ] = "torch",
    batch: Annotated[int, typer.Option(help="Examples at a time.", rich_help_panel=HOW)] = 1,
    threads: Annotated[
        int | None, typer.Option(help="Of every engine (default: all cores).", rich_help_panel=HOW)
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of measuring for each engine.", rich_help_panel=HOW)] = 2.0,
    dtype: Annotated[
        str, typer.Option(help="fp32, or bf16 for every engine that has it.", rich_help_panel=HOW)
    ] = "fp32",
    as_json: options.Json = False,
) -> None:
    """Time a network on this machine, on lehr's engine and on others, in turns.

    Example: `lehr bench small.lehr --against torch,onnxruntime --batch 1`
    """
    arguments = dict(locals())
    from lehr.recipes.bench import BenchSettings
    from lehr.recipes.bench import bench as recipe
    from lehr.runs import validated

    values = options.chosen(arguments, BenchSettings.model_fields) | {
        "run": screen.one_of(run, weights),
        "against": options.words(against),
    }
    result = recipe(validated(BenchSettings, values))
    if as_json:
        screen.print_json(result | {"ratio": None if math.isnan(result["ratio"]) else result["ratio"]})
        return
    printer = screen.console()
    title = f"{result['run']}, batch {result['batch']}, {result['threads']} threads, {result['engine']}"
    printer.print(screen.titled(title, engines(result)))
    if result["layers"]:
        printer.print(_layers(result))
    for text in result["torch"]:
        screen.notes([f"done by torch: {text}"])


def engines(result: dict[str, Any]) -> Table:
    """Milliseconds by engine, and how much faster lehr is."""
    table = Table()
    for heading in ("engine", "ms", "quartiles", "lehr is faster"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    own = result["engines"][0]["milliseconds"]
    for row in result["engines"]:
        times = "" if row["engine"] == "lehr" else f"{row['milliseconds'] / own:.2f} x"
        table.add_row(row["engine"], f"{row['milliseconds']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}", times)
    return table


def _layers(result: dict[str, Any]) -> Table:
    table = Table(title="layers", title_justify="left")
    for heading in ("layer", "density", "kernel", "us", "the other kernel, us"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for row in result["layers"]:
        other = "not tried" if row["other"] is None else f"{row['other']:.1f}"
        table.add_row(row["layer"], f"{100 * row['density']:.1f} %", row["kernel"], f"{row['microseconds']:.1f}", other)
    return table
