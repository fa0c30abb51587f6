"""What the commands print."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table


def console() -> Console:
    """Standard output; at least 110 columns where it is not a terminal, so that tables are not cut."""
    return Console() if sys.stdout.isatty() else Console(width=110)


def show_bar(quiet: bool, as_json: bool) -> bool:
    """Whether a progress bar is wanted."""
    return not quiet and not as_json and sys.stderr.isatty()


def print_json(value: Any) -> None:
    """For machines."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def result_table(title: str, result: dict[str, Any], out: str) -> Table:
    """The end of one run."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    if "failed" in result:
        table.add_row("failed", result["failed"])
        return table
    for split in ("validation", "test"):
        if split in result:
            scores = result[split]
            table.add_row(f"{split} accuracy", f"{100 * scores['accuracy']:.2f} %")
            table.add_row(f"{split} NLL", f"{scores['nll']:.4f}")
    table.add_row("parameters", f"{result['parameters']:,}")
    if result.get("kept", result["parameters"]) != result["parameters"]:
        table.add_row("weights kept", f"{result['kept']:,} of {result['weights']:,}")
    table.add_row("nonzeros", f"{result['nonzeros']:,}")
    table.add_row("run folder", out)
    return table
