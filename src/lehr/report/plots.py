"""The plots of a comparison, as SVG text."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from lehr.report.cells import Cell
from lehr.report.rows import Row, cells_of_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours, told apart by people who do not see all of them; black is the dense row.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C6D31")
MARKERS = "osD^vP*X"
DENSE = "#444444"
STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))  # where colours do not suffice
CURVES = 8  # more lines than this in one plot cannot be told apart


def look(i: int) -> dict[str, Any]:
    """Of the line that comes at place i: no two of the first 32 have the same line, nor of the first 64 the same dot.

    >>> look(0)["color"] == look(8)["color"], look(0)["marker"], look(8)["marker"]
    (True, 'o', 's')
    """
    again, own = divmod(i, len(COLOURS))
    style, marker = STYLES[again % len(STYLES)], MARKERS[(own + again) % len(MARKERS)]
    return {"color": COLOURS[own], "marker": marker, "linestyle": style}


def accuracy_plot(rows: Sequence[Row]) -> str:
    """Test accuracy (or bits per character) against sparsity, a line a method, bars of one standard deviation."""
    sparsities = sorted({row.sparsity for row in rows if row.sparsity})
    labels = list(dict.fromkeys(row.label for row in rows if row.sparsity))
    figure, (axes,) = _figure(8.6, max(4.2, 0.8 + 0.19 * len(labels)))
    _dense_band(axes, rows)
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
    figure, (left, right) = _figure(11.5, max(4.2, 0.8 + 0.19 * len(labels)), columns=2)
    _dense_band(left, rows)
    for i, label in enumerate(labels):
        own = [row for row in rows if row.label == label and row.sparsity]
        places = [100 * (1 - row.sparsity) for row in own]
        spreads = [0.0 if math.isnan(row.accuracy_sd) else row.accuracy_sd for row in own]
        for axes, values in ((left, [row.accuracy for row in own]), (right, [100 - row.accuracy for row in own])):
            axes.errorbar(
                places, values, spreads, label=legend(label), markersize=4, linewidth=1.3, capsize=2, elinewidth=1, **look(i),
            )  # fmt: skip
    if dense := [row for row in rows if not row.sparsity]:
        best = max(dense, key=lambda row: row.quality)
        right.axhline(100 - best.accuracy, color=DENSE, linewidth=1, linestyle="--", label=legend(best.label), zorder=0)
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
    _log_axis(right)
    right.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return svg(figure)


def learning_curves(cells: Sequence[Cell], rows: Sequence[Row]) -> str:
    """Validation accuracy of the target by epoch, mean over seeds, over the density of P by epoch (log axis).

    Args:
        cells: the runs.
        rows: of one panel and sparsity; the best `CURVES` of them are drawn.
    """
    from matplotlib.ticker import MaxNLocator

    figure, (top, below) = _figure(8.6, 4.8, heights=(2, 1))
    kept = sorted(rows, key=lambda row: -row.quality)[:CURVES]
    curves: list[list[float]] = []
    for i, row in enumerate(row for row in rows if row in kept):
        runs = [c.metrics for c in cells_of_row(cells, row) if c.metrics]
        if not runs:
            continue
        epochs = range(1, min(map(len, runs)) + 1)
        style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "linewidth": 1.4}
        accuracy = [_mean_of(runs, e, "validation_accuracy", 100) for e in epochs]
        curves.append(accuracy)
        top.plot(epochs, accuracy, label=legend(row.label), **style)
        below.plot(epochs, [_mean_of(runs, e, "expected_density", 100) for e in epochs], **style)
    _show_the_end(top, curves)
    top.set_ylabel("validation\naccuracy, %")
    top.tick_params(labelbottom=False)
    below.set_ylabel("weights taking\npart, %")
    _log_axis(below)
    below.set_xlabel("epoch")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    top.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return svg(figure)


MEASURES = {
    "target_loss": "training loss of the\ntarget, nats",
    "gradient_noise": "gradient noise,\nvariance / mean²",
    "distance": "distance travelled,\nrelative",
    "noise_share": "share of the draws in\nlayers' outputs",
    "norm_drift": "drift of batch-norm,\nsd",
}


def measures_plot(cells: Sequence[Cell], rows: Sequence[Row]) -> str:
    """What `lehr.training.probe` measured, by epoch, mean over seeds; a panel for each measure that there is.

    Args:
        cells: the runs.
        rows: of one panel and sparsity; all of them are drawn.
    """
    from matplotlib.ticker import MaxNLocator

    groups = {row.label: [c.metrics for c in cells_of_row(cells, row) if c.metrics] for row in rows}
    runs = [run for group in groups.values() for run in group]
    found = [name for name in MEASURES if any(name in line for run in runs for line in run)]
    figure, panels = _figure(8.6, 1.6 * len(found) + 0.6, heights=(1,) * len(found))
    for axes, name in zip(panels, found, strict=True):
        for i, (label, group) in enumerate(groups.items()):
            measured = [run for run in group if all(name in line for line in run)]
            if measured:
                epochs = range(1, min(map(len, measured)) + 1)
                style = look(i) | {"marker": ""}
                values = [_mean_of(measured, e, name, 1) for e in epochs]
                axes.plot(epochs, values, label=legend(label), linewidth=1.3, **style)
        axes.set_ylabel(MEASURES[name], fontsize=8)
        if name in ("target_loss", "gradient_noise"):
            _log_axis(axes)
        axes.tick_params(labelbottom=name == found[-1])
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return svg(figure)


def _show_the_end(axes: Axes, curves: Sequence[Sequence[float]]) -> None:
    """Cut off what is far below where curves end: a target that is far from trained says little."""
    ends = [curve[-1] for curve in curves]
    lowest = min(ends, default=0.0) - max(4.0, 2 * (max(ends, default=0.0) - min(ends, default=0.0)))
    if any(min(curve) < lowest for curve in curves):
        highest = max(max(curve) for curve in curves)
        axes.set_ylim(lowest, highest + 0.05 * (highest - lowest))
        style: dict[str, Any] = {"ha": "right", "fontsize": 7, "color": DENSE}
        axes.text(0.995, 0.02, "early epochs of some lie below", transform=axes.transAxes, **style)


def cost_plot(cells: Sequence[Cell], rows: Sequence[Row], cost: str) -> str:
    """What a row is judged by against ``bytes`` or ``milliseconds`` of its networks (log axis), where measured.

    Args:
        cells: the runs, their results with the cost under its name.
        rows: of one panel.
        cost: ``"bytes"`` or ``"milliseconds"``.
    """
    figure, (axes,) = _figure(8.6, 4.2)
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
    _log_axis(axes, "x")
    axes.set_xlabel({"bytes": "bytes on disk", "milliseconds": "milliseconds for one input"}[cost])
    axes.set_ylabel("test bits per character" if any(row.language for row in rows) else "test accuracy, %")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return svg(figure)


def _log_axis(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """A log axis that is labelled at 1, 2, 5, 10, ..."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(lambda value, _: f"{value:,.12g}")
    axis.set_minor_formatter(NullFormatter())


def _mean_of(runs: Sequence[Sequence[dict[str, float]]], epoch: int, key: str, scale: float) -> float:
    return scale * sum(run[epoch - 1][key] for run in runs) / len(runs)


def _value(row: Row) -> tuple[float, float]:
    """What a row is judged by, and its spread."""
    return (row.bits, row.bits_sd) if row.language else (row.accuracy, row.accuracy_sd)


def _dense_band(axes: Axes, rows: Sequence[Row]) -> None:
    dense = [row for row in rows if not row.sparsity]
    if dense:
        row = max(dense, key=lambda r: r.quality)
        mean, sd = _value(row)
        axes.axhline(mean, color=DENSE, linewidth=1, linestyle="--", label=legend(row.label), zorder=0)
        if not math.isnan(sd):
            axes.axhspan(mean - sd, mean + sd, color=DENSE, alpha=0.08, linewidth=0, zorder=0)


def _figure(
    width: float, height: float, heights: tuple[int, ...] = (1,), columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """Panels below each other, or beside each other."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(len(heights), columns, sharex=True, squeeze=False, height_ratios=heights)
    axes: list[Axes] = list(panels.flat)
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color="#dddddd", linewidth=0.6)
        one.set_axisbelow(True)
    return figure, axes


def legend(label: str) -> str:
    """A label for reading; a dollar sign begins no formula.

    >>> legend("gradual:epochs=5")
    'gradual, epochs=5'
    """
    return label.replace(":", ", ").replace("$", r"\$")


def svg(figure: Figure) -> str:
    """A figure as SVG text, the same each time."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "lehr", "svg.fonttype": "none"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def preview_plot(moments: Sequence[Any], title: str) -> str:
    """Weights taking part and in the target (log axis), temperature, and learning rate over the run."""
    figure, (top, middle, below) = _figure(8.6, 5.6, heights=(2, 1, 1))
    epochs = [moment.epoch for moment in moments]
    top.plot(epochs, [100 * m.density for m in moments], color=COLOURS[0], label="take part in a pass (expected)")
    top.plot(epochs, [100 * m.target for m in moments], color=COLOURS[1], linestyle="--", label="in the target")
    _log_axis(top)
    top.set_ylabel("weights, %")
    top.set_title(title, fontsize=10, loc="left")
    top.legend(frameon=False, fontsize=8)
    middle.plot(epochs, [m.temperature for m in moments], color=COLOURS[2])
    middle.set_ylabel("chance of\nthe others")
    below.plot(epochs, [m.lr for m in moments], color=COLOURS[3])
    below.set_ylabel("learning rate")
    below.set_xlabel("epoch")
    for axes in (top, middle):
        axes.tick_params(labelbottom=False)
    return svg(figure)
