"""The plots of a comparison, as SVG text: scores against sparsity, density and cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lehr.report.cells import Cell
from lehr.report.drawing import DENSE, figure_of, legend, log_axis, look, svg
from lehr.report.rows import Row, cells_of_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES: tuple[Any, ...] = ("--", ":", "-.", (0, (6, 3)))  # of dense rows


def accuracy_plot(rows: Sequence[Row]) -> str:
    """Test accuracy (or bits per character) against sparsity, a line a method, bars of one standard deviation."""
    sparsities = sorted({row.sparsity for row in rows if row.sparsity})
    labels = list(dict.fromkeys(row.label for row in rows if row.sparsity))
    figure, (axes,) = figure_of(8.6, max(4.2, 0.8 + 0.19 * len(labels)))
    _dense_lines(axes, rows)
    for i, label in enumerate(labels):
        points = [(sparsities.index(row.sparsity), row) for row in rows if row.label == label and row.sparsity]
        shift = (i - (len(labels) - 1) / 2) * min(0.05, 0.3 / max(1, len(labels)))
        axes.errorbar(
            [x + shift for x, _ in points],
            [_value(row)[0] for _, row in points],
            [0.0 if math.isnan(_value(row)[1]) else _value(row)[1] for _, row in points],
            label=legend(label), markersize=5, linewidth=1.3, capsize=2.5, elinewidth=1, **look(i),
        )  # fmt: skip
    axes.set_xticks(range(len(sparsities)), [f"{100 * s:.4g} %" for s in sparsities])
    axes.set_xlim(-0.5, len(sparsities) - 0.5)
    axes.set_xlabel("sparsity")
    language = any(row.language for row in rows)
    axes.set_ylabel("test bits per character (lower is better)" if language else "test accuracy, %")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return svg(figure)


def density_plot(rows: Sequence[Row]) -> str:
    """Test accuracy against the density of the masks on a log axis, and the error on two of them; bars of one standard deviation."""
    labels = list(dict.fromkeys(row.label for row in rows if row.sparsity))
    figure, (left, right) = figure_of(11.5, max(4.2, 0.8 + 0.19 * len(labels)), columns=2)
    _dense_lines(left, rows)
    _dense_lines(right, rows, error=True)
    for i, label in enumerate(labels):
        own = [row for row in rows if row.label == label and row.sparsity]
        places = [100 * (1 - row.sparsity) for row in own]
        spreads = [0.0 if math.isnan(row.accuracy_sd) else row.accuracy_sd for row in own]
        for axes, values in ((left, [row.accuracy for row in own]), (right, [100 - row.accuracy for row in own])):
            axes.errorbar(
                places, values, spreads, label=legend(label), markersize=4, linewidth=1.3, capsize=2, elinewidth=1, **look(i),
            )  # fmt: skip
    ticks = sorted({100 * (1 - row.sparsity) for row in rows if row.sparsity})
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("weights left, %")
    left.invert_xaxis()  # the axis is shared: from dense to sparse
    left.set_ylabel("test accuracy, %")
    right.set_ylabel("test error, %")
    right.set_yscale("log")
    log_axis(right)
    right.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return svg(figure)


def cost_plot(cells: Sequence[Cell], rows: Sequence[Row], cost: str) -> str:
    """What a row is judged by against ``bytes`` or ``milliseconds`` of its networks (log axis), where measured.

    Args:
        cells: the runs, their results with the cost under its name.
        rows: of one panel.
        cost: ``"bytes"`` or ``"milliseconds"``.
    """
    figure, (axes,) = figure_of(8.6, 4.2)
    labels = list(dict.fromkeys(row.label for row in rows))
    for i, label in enumerate(labels):
        points = []
        for row in rows:
            costs = [c.result[cost] for c in cells_of_row(cells, row) if cost in c.result]
            if row.label == label and costs:
                points.append((sum(costs) / len(costs), *_value(row)))
        if points:
            xs, ys, sds = zip(*sorted(points), strict=True)
            axes.errorbar(
                xs, ys, [0.0 if math.isnan(sd) else sd for sd in sds], label=legend(label),
                markersize=5, linewidth=1.3, capsize=2.5, **look(i),
            )  # fmt: skip
    log_axis(axes, "x")
    axes.set_xlabel({"bytes": "bytes on disk", "milliseconds": "milliseconds for one input"}[cost])
    axes.set_ylabel("test bits per character" if any(row.language for row in rows) else "test accuracy, %")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return svg(figure)


def _value(row: Row) -> tuple[float, float]:
    """What a row is judged by, and its spread."""
    return (row.bits, row.bits_sd) if row.language else (row.accuracy, row.accuracy_sd)


def _dense_lines(axes: Axes, rows: Sequence[Row], *, error: bool = False) -> None:
    """Every dense row across the axes with its spread, as its accuracy or as its error."""
    for i, row in enumerate(row for row in rows if not row.sparsity):
        mean, sd = _value(row)
        if error:
            mean = 100 - mean
        axes.axhline(
            mean, color=DENSE, linewidth=1, linestyle=DASHES[i % len(DASHES)], label=legend(row.label), zorder=0
        )
        if not math.isnan(sd):
            axes.axhspan(mean - sd, mean + sd, color=DENSE, alpha=0.06, linewidth=0, zorder=0)
