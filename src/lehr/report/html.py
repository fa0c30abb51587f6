"""A study as one self-contained HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from lehr.base.files import write_text
from lehr.report import curves, drawing, plots, table
from lehr.report.cells import Cell
from lehr.report.diagnosis import diagnose_rows
from lehr.report.heat import annealing_map
from lehr.report.ranks import overall_ranks
from lehr.report.rows import Row

COSTS = {"bytes": "bytes on disk", "milliseconds": "time of one inference"}


@dataclass(frozen=True)
class Page:
    """What a page tells: rows, the runs that they are made of, what was asked for, and where it was measured."""

    title: str
    rows: Sequence[Row]
    cells: Sequence[Cell]
    asked: Mapping[str, Any]
    environment: Mapping[str, str]
    command: str
    against: str = "one-shot"
    choosing: Sequence[int] | None = None
    planned: int = 0  # runs of the plan; fewer cells than that are a study that has not ended
    failures: Sequence[Cell] = field(default_factory=list)


def write_report(path: Path, page: Page) -> Path:
    """Write the page: tables, ranks, plots, heat maps, learning curves, settings, machine, every run."""
    templates = Environment(
        loader=PackageLoader("lehr.report", "."), autoescape=select_autoescape(["jinja"]), undefined=StrictUndefined
    )
    shared, varied = _settings(page.cells)
    ended = len({cell.path for cell in page.cells})  # a parent is a cell in every panel of its children
    text = templates.get_template("report.html.jinja").render(
        page=page,
        ended=ended,
        panels=[_panel(page, name, rows) for name, rows in table.panels(page.rows).items()],
        notes=diagnose_rows(page.rows),
        shared=shared,
        varied=varied,
        cells=sorted(page.cells, key=lambda c: (c.panel, c.sparsity, c.label, c.lr, c.choice, c.seed)),
    )
    return write_text(path, text)


def _panel(page: Page, name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What the page shows of one panel."""
    columns, winners = table.headings(rows, page.against), table.best(rows)
    ranks = overall_ranks(page.cells, page.rows).get(name, {})
    own = [cell for cell in page.cells if cell.panel == name]
    by_sparsity: dict[float, list[Row]] = {}
    for row in rows:
        by_sparsity.setdefault(row.sparsity, []).append(row)
    measured = [cost for cost in COSTS if any(cost in cell.result for cell in own)]
    return {
        "name": name,
        "headings": columns,
        "rows": [(table.cells(row, columns), i in winners) for i, row in enumerate(rows)],
        "starts": {i for i, row in enumerate(rows) if i and row.sparsity != rows[i - 1].sparsity},
        "ranks": [(label.replace(":", ", "), f"{rank:.2f}") for label, rank in ranks.items()],
        "judged_by": "Bits per character" if any(row.language for row in rows) else "Accuracy",
        "accuracy": Markup(plots.accuracy_plot(rows)) if any(row.sparsity for row in rows) else "",
        "maps": [Markup(text) for text in _maps(own, rows)],
        # One epoch is one point, which is no curve.
        "curves": [
            (100 * sparsity, Markup(curves.learning_curves(own, group)), len(group) > drawing.CURVES)
            for sparsity, group in sorted(by_sparsity.items())
            if sparsity and any(_curved(cell) for cell in own if cell.sparsity == sparsity)
        ],
        "measures": [
            (100 * sparsity, Markup(curves.measures_plot(own, group)))
            for sparsity, group in sorted(by_sparsity.items())
            if any(
                name in line
                for cell in own
                if cell.sparsity == sparsity
                for line in cell.metrics
                for name in curves.MEASURES
            )
        ],
        "costs": [(COSTS[cost], Markup(plots.cost_plot(own, rows, cost))) for cost in measured],
    }


def _curved(cell: Cell) -> bool:
    """Whether a run was judged more than once on its way."""
    return sum(line["validation_accuracy"] is not None for line in cell.metrics) > 1


def _maps(cells: Sequence[Cell], rows: Sequence[Row]) -> list[str]:
    """A heat map for rows that differ in temperature and length alone, where several lengths share a temperature and the other way round."""
    settings = {(*c.row, c.lr, c.choice): c.settings for c in cells}
    groups: dict[tuple[float, str], dict[tuple[float, str], float]] = {}
    for row in rows:
        own = settings.get((*row.row, row.lr, row.choice), {})
        if own.get("method") == "temperature-annealing":
            others = {k: v for k, v in own.items() if k not in ("tau", "anneal", "lr", "seed", "parent_epochs")}
            key = (float(own["tau"]), str(own["anneal"]))
            groups.setdefault((row.sparsity, repr(others)), {})[key] = row.bits if row.language else row.accuracy
    maps = []
    for (sparsity, rest), values in sorted(groups.items()):
        lengths = Counter(tau for tau, _ in values)
        temperatures = Counter(length for _, length in values)
        if max(lengths.values()) > 1 and max(temperatures.values()) > 1:
            target = "moving" if "'target': 'moving'" in rest else "fixed"
            maps.append(annealing_map(values, f"{100 * sparsity:.4g} %, {target} target"))
    return maps


def _settings(cells: Sequence[Cell]) -> tuple[dict[str, Any], list[str]]:
    """The settings that all runs have alike, and the names of those that differ."""
    tuned = [cell.settings for cell in cells if cell.sparsity] or [cell.settings for cell in cells]
    names = list(dict.fromkeys(name for settings in tuned for name in settings))
    values = {name: {repr(settings.get(name)) for settings in tuned} for name in names}
    shared = {name: tuned[0].get(name) for name in names if len(values[name]) == 1}
    known = {"sparsity", "lr", "seed"}  # columns of their own
    varied = [name for name in names if len(values[name]) > 1 and name not in known]
    return {name: value for name, value in shared.items() if value is not None}, varied
