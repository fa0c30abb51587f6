"""`lehr demo`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lehr.cli import options, screen


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    workers: options.Workers = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """The main job on real scans: train, prune, anneal, compare. No download.

    Example: `lehr demo --out demo`
    """
    from lehr.study.demo import DEMO
    from lehr.study.run import Workers, run_study

    found = run_study(DEMO, out, workers=Workers(workers), show=screen.show_bar(quiet, as_json))
    screen.findings(found, out, ["lehr", *sys.argv[1:]], as_json=as_json)
