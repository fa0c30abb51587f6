"""What is plotted over the epochs of runs, as SVG text: accuracy, density, what the probe measured, and a schedule before it is run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lehr.report.cells import Cell
from lehr.report.drawing import COLOURS, CURVES, DENSE, figure_of, legend, log_axis, look, svg
from lehr.report.rows import Row, cells_of_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def learning_curves(cells: Sequence[Cell], rows: Sequence[Row]) -> str:
    """Validation accuracy of the target by epoch, mean over seeds, over the density of P by epoch (log axis).

    Args:
        cells: the runs.
        rows: of one panel and sparsity; the best `CURVES` of them are drawn.
    """
    from matplotlib.ticker import MaxNLocator

    figure, (top, below) = figure_of(8.6, 4.8, heights=(2, 1))
    kept = sorted(rows, key=lambda row: -row.quality)[:CURVES]
    curves: list[list[float]] = []
    for i, row in enumerate(row for row in rows if row in kept):
        runs = [c.metrics for c in cells_of_row(cells, row) if c.metrics]
        if not runs:
            continue
        epochs = range(1, min(map(len, runs)) + 1)
        style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "linewidth": 1.4}
        judged = [e for e in epochs if all(run[e - 1]["validation_accuracy"] is not None for run in runs)]
        accuracy = [_mean_of(runs, e, "validation_accuracy", 100) for e in judged]
        if accuracy:
            curves.append(accuracy)
        top.plot(judged, accuracy, label=legend(row.label), **style)
        below.plot(epochs, [_mean_of(runs, e, "expected_density", 100) for e in epochs], **style)
    _show_the_end(top, curves)
    top.set_ylabel("validation\naccuracy, %")
    top.tick_params(labelbottom=False)
    below.set_ylabel("weights taking\npart, %")
    log_axis(below)
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
    found = [name for name in MEASURES if any(line.get(name) is not None for run in runs for line in run)]
    figure, panels = figure_of(8.6, 1.6 * len(found) + 0.6, heights=(1,) * len(found))
    for axes, name in zip(panels, found, strict=True):
        for i, (label, group) in enumerate(groups.items()):
            measured = [run for run in group if all(line.get(name) is not None for line in run)]
            if measured:
                epochs = range(1, min(map(len, measured)) + 1)
                style = look(i) | {"marker": ""}
                values = [_mean_of(measured, e, name, 1) for e in epochs]
                axes.plot(epochs, values, label=legend(label), linewidth=1.3, **style)
        axes.set_ylabel(MEASURES[name], fontsize=8)
        if name in ("target_loss", "gradient_noise"):
            log_axis(axes)
        axes.tick_params(labelbottom=name == found[-1])
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return svg(figure)


def preview_plot(moments: Sequence[Any], title: str) -> str:
    """Weights taking part and in the target (log axis), temperature, and learning rate over the run."""
    figure, (top, middle, below) = figure_of(8.6, 5.6, heights=(2, 1, 1))
    epochs = [moment.epoch for moment in moments]
    top.plot(epochs, [100 * m.density for m in moments], color=COLOURS[0], label="take part in a pass (expected)")
    top.plot(epochs, [100 * m.target for m in moments], color=COLOURS[1], linestyle="--", label="in the target")
    log_axis(top)
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


def _show_the_end(axes: Axes, curves: Sequence[Sequence[float]]) -> None:
    """Cut off what is far below where curves end: a target that is far from trained says little."""
    ends = [curve[-1] for curve in curves]
    lowest = min(ends, default=0.0) - max(4.0, 2 * (max(ends, default=0.0) - min(ends, default=0.0)))
    if any(min(curve) < lowest for curve in curves):
        highest = max(max(curve) for curve in curves)
        axes.set_ylim(lowest, highest + 0.05 * (highest - lowest))
        style: dict[str, Any] = {"ha": "right", "fontsize": 7, "color": DENSE}
        axes.text(0.995, 0.02, "early epochs of some lie below", transform=axes.transAxes, **style)


def _mean_of(runs: Sequence[Sequence[dict[str, float]]], epoch: int, key: str, scale: float) -> float:
    return scale * sum(run[epoch - 1][key] for run in runs) / len(runs)
