"""What a comparison leaves behind: table, report, and the best sparse network as files."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from lehr.base.files import write_beside, write_json, write_text
from lehr.report.diagnosis import diagnose_rows
from lehr.report.environment import environment
from lehr.report.html import write_report
from lehr.report.plots import accuracy_plot
from lehr.report.summary import Cell, Row, quality
from lehr.report.table import markdown_table


def publish(
    out: Path, title: str, rows: Sequence[Row], cells: Sequence[Cell], settings: dict[str, Any], command: Sequence[str]
) -> dict[str, str]:
    """Write ``table.md``, ``accuracy.svg``, ``results.json``, ``report.html`` and ``best/``; return the paths by name.

    ``best/`` holds the network that validation prefers at the highest sparsity, with its mask.
    """
    line = shlex.join(command)
    write_text(out / "table.md", markdown_table(rows))
    write_text(out / "accuracy.svg", accuracy_plot(rows))
    write_json(
        out / "results.json",
        {
            "command": line,
            "environment": environment(),
            "settings": settings,
            "rows": [row.as_dict() for row in rows],
            "notes": diagnose_rows(rows),
        },
    )
    files = {
        "table": str(out / "table.md"),
        "report": str(write_report(out / "report.html", title, rows, cells, settings, line)),
    }
    best = best_cell(rows, cells)
    if best is not None:
        for name in ("model.safetensors", "mask.safetensors"):
            source = Path(best.path) / name
            write_beside(out / "best" / name, lambda beside, source=source: shutil.copyfile(source, beside))  # type: ignore[misc]
        write_json(
            out / "best" / "origin.json",
            {"method": best.label, "sparsity": best.sparsity, "lr": best.lr, "seed": best.seed, "result": best.result},
        )
        files["network"] = str(out / "best" / "model.safetensors")
    return files


def best_cell(rows: Sequence[Row], cells: Sequence[Cell]) -> Cell | None:
    """At the highest sparsity, the run that validation prefers in the row that validation prefers."""
    top = max((row.sparsity for row in rows), default=0.0)
    sparse = [row for row in rows if row.sparsity == top and top > 0]
    if not sparse:
        return None
    own = {
        id(row): [c for c in cells if (c.label, c.sparsity, c.lr) == (row.label, row.sparsity, row.lr)]
        for row in sparse
    }
    row = max(sparse, key=lambda r: fmean(quality(c.result) for c in own[id(r)]))
    return max(own[id(row)], key=lambda c: (quality(c.result), -c.result["validation"]["nll"]))
