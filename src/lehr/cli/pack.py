"""`lehr pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lehr.base.errors import LehrError
from lehr.cli import options, screen


def pack(
    run: Annotated[str | None, typer.Argument(help="The folder of a tuned run.")] = None,
    weights: options.Weights = None,
    data: options.AnyData = None,
    model: options.AnyModel = None,
    image_size: options.ImageSize = None,
    context: options.Context = None,
    values: Annotated[
        str, typer.Option(help="Of the kept weights: fp32, fp16, bf16, or int8 with a scale for each output.")
    ] = "fp32",
    graph: Annotated[
        bool, typer.Option("--graph/--no-graph", help="Put the graph in, so that the file runs without torch.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="The file (default: small.lehr in the run folder).", rich_help_panel=options.RUN)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a sparse network as one small file, near the entropy bound.

    Example: `lehr pack runs/small --values int8 --out small.lehr`
    """
    arguments = dict(locals())
    from lehr.recipes.pack import PackSettings
    from lehr.recipes.pack import pack as recipe
    from lehr.runs import validated

    source = screen.one_of(run, weights)
    values_given = options.chosen(arguments, PackSettings.model_fields) | {"run": source}
    settings = validated(PackSettings, values_given)
    if out is None:
        path = Path(source)
        out = path / "small.lehr" if path.is_dir() else path.with_suffix(".lehr")
    if out.resolve() == Path(source).resolve():
        raise LehrError(f"{out} is what is packed, and would be lost: give another --out")
    result = recipe(settings, out)
    if as_json:
        screen.print_json(result)
        return
    screen.console().print(screen.titled(result["file"], sizes(result)))
    if result["needs_torch"]:
        screen.notes([f"it does not run without torch: {result['needs_torch'][0]}"])


def sizes(result: dict[str, Any]) -> Table:
    """What a packed file weighs."""
    table = Table(show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("file", f"{result['bytes']:,} bytes")
    over = 100 * (result["bytes"] / result["bound"] - 1)
    table.add_row("entropy bound", f"{result['bound']:,.0f} bytes (the file is {over:.1f} % above it)")
    table.add_row(
        "the same dense", f"{result['dense']:,} bytes ({result['dense'] / result['bytes']:.1f} times the file)"
    )
    table.add_row("bits per weight", f"{result['bits_per_weight']:.3f}")
    kept = "kept weights" if result["granularity"] == "unstructured" else f"kept weights ({result['granularity']})"
    table.add_row(kept, f"{result['kept']:,} of {result['weights']:,}, as {result['values']}")
    if result["runs_without_torch"]:
        table.add_row("runs without torch", "yes: lehr.runtime.load")
    if "accuracy" in result:
        before, after = result["accuracy"]["before"], result["accuracy"]["after"]
        change = f"{100 * (after - before):+.2f} points"
        table.add_row("validation accuracy", Text(f"{100 * after:.2f} % (before {100 * before:.2f} %: {change})"))
    return table
