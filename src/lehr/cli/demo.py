"""`lehr demo`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lehr.cli import compare, options


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time (default: one for each of up to 4 cores).")
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """The main job on real scans: train, prune, anneal, compare. No download.

    Example: `lehr demo --out demo`
    """
    from lehr.recipes.demo import DEMO

    compare.run(DEMO, out, jobs=jobs or min(4, os.cpu_count() or 1), as_json=as_json, quiet=quiet)
