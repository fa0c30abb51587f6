"""A comparison as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from lehr.base.files import write_text
from lehr.report import plots, table
from lehr.report.diagnosis import diagnose_rows
from lehr.report.environment import environment
from lehr.report.summary import Cell, Row


def write_report(
    path: Path, title: str, rows: Sequence[Row], cells: Sequence[Cell], settings: Mapping[str, Any], command: str
) -> Path:
    """Write the page: table, accuracy against sparsity, learning curves, settings, machine, every run."""
    templates = Environment(
        loader=PackageLoader("lehr.report", "."), autoescape=select_autoescape(["jinja"]), undefined=StrictUndefined
    )
    sparsities = sorted({row.sparsity for row in rows if row.sparsity})
    winners = table.best(rows)
    page = templates.get_template("report.html.jinja").render(
        title=title,
        headings=table.headings(rows),
        rows=[(table.cells(row), i in winners) for i, row in enumerate(rows)],
        starts={i for i, row in enumerate(rows) if i and row.sparsity != rows[i - 1].sparsity},
        accuracy=Markup(plots.accuracy_plot(rows)),
        notes=diagnose_rows(rows),
        judged_by="Bits per character" if any(row.language for row in rows) else "Accuracy",
        # One epoch is one point, which is no curve.
        curves=[
            (100 * s, Markup(plots.learning_curves(cells, rows, s)))
            for s in sparsities
            if any(len(cell.metrics) > 1 for cell in cells if cell.sparsity == s)
        ],
        settings={name: value for name, value in settings.items() if value is not None},
        environment=environment(),
        command=command,
        cells=sorted(cells, key=lambda c: (c.sparsity, c.label, c.lr, c.seed)),
    )
    return write_text(path, page)
