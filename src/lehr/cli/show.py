"""`lehr show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lehr.cli import options, screen


def show(
    run: Annotated[Path, typer.Argument(help="The folder of a run or of a study, a .lehr file, or a mask file.")],
    as_json: options.Json = False,
) -> None:
    """Show what is in a folder: settings, result, and how many weights each layer keeps.

    Example: `lehr show runs/small`
    """
    from lehr.masks import Mask
    from lehr.recipes.look import Look, look
    from lehr.report.diagnosis import diagnose_rows
    from lehr.study.folder import is_study, read_study_folder

    if is_study(run):
        found = read_study_folder(run)
        if as_json:
            screen.print_json({"rows": [row.as_dict() for row in found.rows]})
        else:
            screen.tables(found, found.rows)
            screen.notes(diagnose_rows(found.rows))
        return
    seen: Look | Mask = look(run)
    mask = seen if isinstance(seen, Mask) else seen.mask
    values: dict[str, Any] = {} if isinstance(seen, Mask) else {"settings": seen.settings, "result": seen.result}
    layers = [
        {"name": r.name, "shape": list(r.shape), "kept": r.kept, "size": r.size}
        for r in (mask.layers() if mask else [])
    ]
    if as_json:
        screen.print_json(values | {"layers": layers})
        return
    printer = screen.console()
    if isinstance(seen, Look):
        if seen.size is not None:
            printer.print(f"{run}: {seen.size:,} bytes", soft_wrap=True)
        elif seen.result is not None:
            printer.print(screen.result_table(str(run), seen.result, str(run)))
        else:
            printer.print(f"{run} has not ended after {seen.epochs} epochs: continue it with --resume")
        screen.notes(seen.notes)
        printer.print(_settings_table(seen.settings, "settings" if seen.size is None else "what it says about itself"))
    if mask is not None:
        printer.print(_layer_table(mask))


def _settings_table(settings: dict[str, Any], title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in settings.items():
        if value is not None:
            table.add_row(name, Text(str(value)))
    return table


def _layer_table(mask: Any) -> Table:
    table = Table(title=Text(repr(mask), style="italic"), title_justify="left")
    for heading in ("layer", "shape", "kept", "of", "density"):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for row in mask.layers():
        table.add_row(
            Text(row.name),
            "x".join(map(str, row.shape)),
            f"{row.kept:,}",
            f"{row.size:,}",
            f"{100 * row.density:.2f} %",
        )
    return table
