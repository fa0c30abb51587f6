"""What the commands print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from lehr.base.errors import LehrError

if TYPE_CHECKING:
    from lehr.report.rows import Row
    from lehr.study.findings import Findings


def console() -> Console:
    """Standard output; 130 columns where it is not a terminal, so that tables are not cut.

    Of several processes of a run only the first speaks.
    """
    quiet = not first_process()
    return Console(quiet=quiet) if sys.stdout.isatty() else Console(width=130, quiet=quiet)


def first_process() -> bool:
    """Whether this is the only process of the run, or the first."""
    return os.environ.get("RANK", "0") == "0"


def show_bar(quiet: bool, as_json: bool) -> bool:
    """Whether a progress bar is wanted."""
    return not quiet and not as_json and sys.stderr.isatty() and first_process()


def print_json(value: Any) -> None:
    """For machines."""
    if first_process():
        sys.stdout.write(json.dumps(value, indent=1) + "\n")


def end(title: str, result: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """What a run ends with: its table and what was noticed, or the result as JSON."""
    if as_json:
        print_json(result)
        return
    printer = console()
    printer.print(result_table(title, result, str(out)))
    notes(result.get("notes", ()))


def one_of(run: object, weights: object) -> str:
    """The run folder or the file of weights, whichever was given."""
    if (run is None) == (weights is None):
        raise LehrError("give the folder of a run, or --from with a file of weights, and not both")
    return str(weights if run is None else run)


def say(text: str) -> None:
    """A line as it is, whatever brackets it has."""
    console().print(Text(text), soft_wrap=True)


def notes(texts: Sequence[str]) -> None:
    """What was noticed, a line each."""
    for text in texts:
        console().print(Text.assemble(("note: ", "bold yellow"), text), soft_wrap=True)


def titled(title: str, table: Table | Group) -> Group:
    """A table under its title, which may be wider than it."""
    return Group(Text(title, style="italic"), table)


def findings(
    found: Findings,
    files: Mapping[str, str],
    *,
    as_json: bool,
    besides: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """What a study ends with: its files, its tables, what was noticed and what failed; in JSON also what is given besides."""
    from lehr.report.diagnosis import diagnose_rows

    noticed = diagnose_rows(found.rows)
    failed = [f"{cell.path}: {cell.result['failed']}" for cell in found.failures]
    if as_json:
        rows = [row.as_dict() for row in found.rows]
        print_json({**besides, "rows": rows, "notes": noticed, "failures": failed, "files": dict(files)})
        return
    tables(found, found.rows)
    notes(noticed)
    for text in failed[:5]:
        console().print(Text.assemble(("failed: ", "bold red"), text), soft_wrap=True)
    if len(failed) > 5:
        say(f"failed: {len(failed) - 5} more, see the report")
    for name, path in files.items():
        console().print(Text.assemble((f"{name:>8}  ", "dim"), path), soft_wrap=True)


def tables(found: Findings, rows: Sequence[Row]) -> None:
    """A table for each panel, and the ranks of its methods over all sparsities and seeds."""
    from lehr.report.ranks import overall_ranks
    from lehr.report.table import panels, terminal_table
    from lehr.report.unscored import unscored

    printer = console()
    ranks = overall_ranks(found.cells, rows)
    for panel, own in panels(rows).items():
        title = ", ".join(filter(None, [found.study.title, panel]))
        printer.print(terminal_table(own, title, found.study.against, printer.width))
        if len({row.sparsity for row in own if row.sparsity}) > 1 and panel in ranks:
            told = "; ".join(f"{label.replace(':', ', ')} {rank:.2f}" for label, rank in ranks[panel].items())
            printer.print(Text.assemble(("mean rank: ", "dim"), told), soft_wrap=True)
    notes(unscored(found.cells))


def result_table(title: str, result: dict[str, Any], out: str) -> Group:
    """The end of one run."""
    table = Table(show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    if "failed" in result:
        table.add_row("failed", Text(result["failed"]))
        return titled(title, table)
    for split in ("validation", "test"):
        if split in result:
            scores = result[split]
            table.add_row(f"{split} accuracy", f"{100 * scores['accuracy']:.2f} %")
            table.add_row(f"{split} NLL", f"{scores['nll']:.4f}")
            if "bits_per_character" in scores:
                table.add_row(f"{split} bits per character", f"{scores['bits_per_character']:.4f}")
    table.add_row("parameters", f"{result['parameters']:,}")
    if result.get("kept", result["parameters"]) != result["parameters"]:
        table.add_row("weights kept", f"{result['kept']:,} of {result['weights']:,}")
    table.add_row("nonzeros", f"{result['nonzeros']:,}")
    table.add_row("run folder", Text(out))
    return titled(title, table)
