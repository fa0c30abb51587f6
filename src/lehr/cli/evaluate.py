"""`lehr evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table

from lehr.cli import options, screen

Run = Annotated[str | None, typer.Argument(help="The folder of a run.")]


def evaluate(
    run: Run = None,
    weights: options.Weights = None,
    data: options.AnyData = None,
    model: options.AnyModel = None,
    image_size: options.ImageSize = None,
    context: options.Context = None,
    split: Annotated[str, typer.Option(help="test or validation.", rich_help_panel=options.JUDGED)] = "test",
    examples: options.Examples = None,
    corrupted: options.Corrupted = False,
    corruptions: options.Corruptions = None,
    severities: options.Severities = "1,2,3,4,5",
    corrupted_data: options.CorruptedData = None,
    seed: options.Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write everything to this JSON file too.", rich_help_panel=options.RUN)
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Judge a finished network: accuracy, NLL, calibration, sparsity by layer, FLOPs; on corrupted images too.

    Example: `lehr evaluate runs/small --corrupted --examples 2000`
    """
    arguments = dict(locals())
    from lehr.base.files import write_json
    from lehr.recipes.evaluate import EvaluateSettings
    from lehr.recipes.evaluate import evaluate as recipe
    from lehr.runs import validated
    from lehr.training.progress import bar

    values = options.chosen(arguments, EvaluateSettings.model_fields) | {
        "run": screen.one_of(run, weights),
        "severities": options.whole_numbers(severities, "severities"),
        "corruptions": options.words(corruptions) if corruptions else (),
        "corrupted": corrupted or corruptions is not None,
    }
    settings = validated(EvaluateSettings, values)
    show = screen.show_bar(quiet, as_json) and (settings.corrupted or settings.corrupted_data is not None)
    with bar("corruptions", len(settings.sets()), show=show) as line:
        result = recipe(settings, bar=line)
    if out is not None:
        write_json(out, result)
    if as_json:
        screen.print_json(result)
        return
    printer = screen.console()
    printer.print(_scores(result))
    if result["layers"]:
        printer.print(_layers(result))
        if result["granularity"] != "unstructured":
            printer.print("[dim]whole granules are still multiplied as zeros: they save time only once removed[/]")
    if "corrupted" in result:
        printer.print(_corrupted(result))
        for name, text in result["corrupted"]["deviations"].items():
            printer.print(f"[dim]{name}: {text}[/]", soft_wrap=True)


def _scores(result: dict[str, Any]) -> Group:
    table = Table(show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("accuracy", f"{100 * result['accuracy']:.2f} %")
    table.add_row("NLL", f"{result['nll']:.4f} nats")
    if "bits_per_character" in result:
        table.add_row("bits per character", f"{result['bits_per_character']:.4f}")
    table.add_row("calibration error (ECE, 15 bins)", f"{result['ece']:.4f}")
    table.add_row("Brier score", f"{result['brier']:.4f}")
    table.add_row("predictions", f"{result['count']:,}")
    table.add_row("nonzeros", f"{result['nonzeros']:,} of {result['parameters']:,}")
    table.add_row("FLOPs of one example", f"{result['flops']:,}")
    if result["layers"]:
        table.add_row("if zeros were skipped", f"{result['kept_flops']:,.0f}")
    return screen.titled(f"{result['run']}, {result['split']} set", table)


def _layers(result: dict[str, Any]) -> Table:
    table = Table(title=f"layers ({result['granularity']})", title_justify="left")
    for heading in ("layer", "shape", "kept", "of", "density", "FLOPs", "FLOPs kept"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for row in result["layers"]:
        density = row["kept"] / row["size"]
        table.add_row(
            row["name"], "x".join(map(str, row["shape"])), f"{row['kept']:,}", f"{row['size']:,}",
            f"{100 * density:.2f} %", f"{row['flops']:,}", f"{row['flops'] * density:,.0f}",
        )  # fmt: skip
    return table


def _corrupted(result: dict[str, Any]) -> Group:
    found = result["corrupted"]
    levels = ", ".join(map(str, found["severities"]))
    table = Table()
    for heading in ("corruption", "accuracy %", "NLL", "ECE", "Brier"):
        table.add_column(heading, justify="left" if heading == "corruption" else "right")
    for name, row in [*found["corruptions"].items(), ("mean", found["mean"])]:
        if name == "mean":
            table.add_section()
        table.add_row(
            name, f"{100 * row['accuracy']:.2f}", f"{row['nll']:.3f}", f"{row['ece']:.3f}", f"{row['brier']:.3f}",
            style="bold" if name == "mean" else "",
        )  # fmt: skip
    return screen.titled(f"corrupted images ({found['source']}; mean over severities {levels})", table)
