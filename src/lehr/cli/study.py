"""`lehr study run|table|report`."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from lehr.cli import options, screen
from lehr.cli.small_study import command

app = typer.Typer(help="Grids of runs with seeds: run them, tabulate them, report on them.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The folder of a study.")]
Confirming = Annotated[bool, typer.Option("--confirming", help="Count only the seeds that chose nothing.")]


class Form(str, Enum):
    """How a table is printed."""

    terminal = "terminal"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="A YAML file; its lists are the axes of the grid.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the runs (default: runs/ and the file's name).")] = None,
    workers: options.Workers = 1,
    address: options.Address = None,
    gpus: options.Gpus = 0.0,
    check: Annotated[bool, typer.Option("--check", help="Only check the file and estimate; run nothing.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Run what is missing of a study. Started again it goes on; started twice, both share the work.

    Example: `lehr study run study.yaml --out runs/study --workers 2`
    """
    from lehr.study.board import Workers
    from lehr.study.file import read_study
    from lehr.study.publish import publish
    from lehr.study.run import missing, run_study

    hands = Workers(workers, address, gpus)
    asked = read_study(study)
    folder = out or Path("runs") / study.stem
    todo, expected = missing(asked, folder)
    if not as_json:
        told = expected.told(workers) if todo else "every run is done"
        screen.say(f"{asked.title}: {told}, in {folder}")
    if check:
        if as_json:
            screen.print_json({"runs": expected.runs, "seconds": expected.seconds, "bytes": expected.bytes})
        return
    expected.check_space(folder)
    found = run_study(asked, folder, workers=hands, show=screen.show_bar(quiet, as_json))
    screen.findings(found, publish(found, folder, command()), as_json=as_json)


@app.command()
def table(
    folder: Folder,
    form: Annotated[Form, typer.Option("--format", help="terminal, markdown, latex or csv.")] = Form.terminal,
    against: Annotated[str | None, typer.Option(help="The row to compare with (default: the study's).")] = None,
    confirming: Confirming = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON, a list.")] = False,
) -> None:
    """Mean, spread, paired differences with confidence intervals, and ranks.

    Example: `lehr study table runs/study --format markdown`
    """
    from lehr.report import table as tables
    from lehr.study.folder import read_study_folder

    found = read_study_folder(folder).seen(against=against, confirming=confirming)
    rows = found.rows
    if as_json:
        screen.print_json([row.as_dict() for row in rows])
    elif form is Form.markdown:
        sys.stdout.write(found.markdown())
    elif form is Form.latex:
        sys.stdout.write(tables.latex_table(rows, found.study.against))
    elif form is Form.csv:
        sys.stdout.write(tables.csv_table(rows))
    else:
        screen.tables(found, rows)


@app.command()
def report(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="The page (default: report.html in the folder).")] = None,
    as_json: options.Json = False,
) -> None:
    """One self-contained HTML page: tables, plots, heat maps, learning curves, settings.

    Example: `lehr study report runs/study`
    """
    from lehr.report.html import write_report
    from lehr.study.folder import read_study_folder

    found = read_study_folder(folder)
    path = write_report(out or folder / "report.html", found.page(f"lehr study report {folder}"))
    if as_json:
        screen.print_json({"report": str(path)})
    else:
        screen.say(str(path))
