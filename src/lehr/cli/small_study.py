"""What the commands that are small studies end in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lehr.base.environment import cores
from lehr.cli import screen

if TYPE_CHECKING:
    from lehr.study.definition import Study
    from lehr.study.findings import Findings


def threads_of(threads: int, workers: int) -> int:
    """Those asked for, or an equal share of the cores; fewer than one worker is refused where runs begin.

    >>> threads_of(3, 2)
    3
    """
    return threads or max(1, cores() // max(1, workers))


def command() -> list[str]:
    """What was typed."""
    return ["lehr", *sys.argv[1:]]


def check_ended(found: Findings) -> None:
    """Leave with 1 where every run that the command is for has failed, so that a script sees it."""
    own = [cell for cell in found.cells if cell.sparsity]
    if own and all(cell.failed for cell in own):
        raise typer.Exit(1)


def done(
    study: Study, out: Path | None, workers: int, *, threads: int = 0, quiet: bool, as_json: bool
) -> tuple[Findings, Path, dict[str, str]]:
    """Run what is missing of a study, in its own folder where none is given, and write what it leaves behind; the paths of that by name.

    Where no `threads` are asked for, they are those that the folder was begun with.
    """
    from lehr.study.board import Workers
    from lehr.study.compare import default_folder
    from lehr.study.folder import as_begun
    from lehr.study.publish import publish
    from lehr.study.run import run_study

    hands = Workers(workers)
    folder = out or default_folder(study)
    study = study if threads else as_begun(study, folder)
    found = run_study(study, folder, workers=hands, show=screen.show_bar(quiet, as_json))
    return found, folder, publish(found, folder, command())
