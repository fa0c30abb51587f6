"""`lehr demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lehr.cli import bench, options, pack, screen
from lehr.cli.small_study import done


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    workers: options.Workers = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """The main job on real scans: train, prune, anneal, compare; then pack the best and time it. No download.

    Example: `lehr demo --out demo`
    """
    from lehr.runtime.native import MISSING
    from lehr.study.demo import DEMO, ship

    found, _, files = done(DEMO, out, workers, quiet=quiet, as_json=as_json)
    if not as_json:
        screen.findings(found, files, as_json=False)
    packed, timed = ship(found, out)
    if as_json:
        screen.findings(found, files, as_json=True, besides={"packed": packed, "timed": timed})
        return
    printer = screen.console()
    printer.print(screen.titled(f"the best at the highest sparsity, packed: {packed['file']}", pack.sizes(packed)))
    if timed is None:
        screen.notes([MISSING])
    else:
        printer.print(
            screen.titled(f"the same on this machine, one input, {timed['threads']} threads", bench.engines(timed))
        )
