"""`lehr sensitivity`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lehr.cli import options, screen
from lehr.cli.evaluate import Run


def sensitivity(
    run: Run = None,
    weights: options.Weights = None,
    data: options.AnyData = None,
    model: options.AnyModel = None,
    image_size: options.ImageSize = None,
    context: options.Context = None,
    sparsity: Annotated[
        str | None,
        typer.Option(
            help="Fractions to cut from each layer alone (0.5,0.8,0.9,0.95,0.99; N:M brings its own).",
            rich_help_panel=options.MASK,
        ),
    ] = None,
    granularity: options.Granularity = "unstructured",
    score: options.Score = "magnitude",
    target_modules: options.TargetModules = None,
    exclude_modules: options.ExcludeModules = None,
    examples: Annotated[int, typer.Option(help="Validation examples to judge on.", rich_help_panel=options.RUN)] = 2000,
    seed: options.Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for sensitivity.json and the heat map.", rich_help_panel=options.RUN),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """How much each layer minds being pruned alone: accuracy against sparsity, without tuning.

    Example: `lehr sensitivity runs/dense --out runs/sensitivity`
    """
    arguments = dict(locals())
    from lehr.masks.granules import n_of_m_sparsity
    from lehr.recipes.sensitivity import SensitivitySettings
    from lehr.recipes.sensitivity import sensitivity as recipe
    from lehr.runs import validated

    own = n_of_m_sparsity(granularity)
    default = "0.5,0.8,0.9,0.95,0.99" if own is None else f"{own!r}"
    values = options.chosen(arguments, SensitivitySettings.model_fields) | {
        "run": screen.one_of(run, weights),
        "sparsities": options.numbers(sparsity or default, "sparsity"),
    }
    result = recipe(validated(SensitivitySettings, values), out, show=screen.show_bar(quiet, as_json))
    if as_json:
        screen.print_json(result)
        return
    printer = screen.console()
    printer.print(_table(result))
    if out is not None:
        printer.print(f"[dim]heat map[/]  {out / 'sensitivity.svg'}", soft_wrap=True)


def _table(result: dict[str, Any]) -> Group:
    dense = result["accuracy"]
    title = f"one layer cut: validation accuracy in % (uncut {100 * dense:.2f})"
    table = Table()
    table.add_column("layer")
    table.add_column("weights", justify="right")
    for sparsity in result["sparsities"]:
        table.add_column(f"{100 * sparsity:.4g} %", justify="right")
    for layer in result["layers"]:
        cells = [_cell(value, dense) for value in layer["accuracy"]]
        table.add_row(layer["name"] or "(the network)", f"{layer['weights']:,}", *cells)
    return screen.titled(title, table)


def _cell(value: float | None, dense: float) -> Text:
    """A value on a ground from blue (nothing lost) to red (all lost)."""
    if value is None:
        return Text("-", style="dim")
    left = min(1.0, max(0.0, value / dense if dense else 0.0))
    low, high = (178, 58, 38), (32, 84, 120)
    red, green, blue = (round(a + (b - a) * left) for a, b in zip(low, high, strict=True))
    return Text(f"{100 * value:.1f}", style=f"white on rgb({red},{green},{blue})")
