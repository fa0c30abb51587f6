"""Heat maps: accuracy by layer and sparsity, and by temperature and length of the annealing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lehr.analysis.sensitivity import Sensitivity
from lehr.base.steps import in_order
from lehr.report.drawing import svg


def heat_map(rows: Sequence[Sensitivity], sparsities: Sequence[float], dense: float) -> str:
    """SVG text; each cell holds the accuracy in %, its colour goes from 0 to that of the uncut network."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    height = 1.3 + 0.28 * len(rows)
    figure = Figure(figsize=(2.6 + 0.75 * len(sparsities) + 0.055 * max(len(row.layer) for row in rows), height))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    palette = colormaps["cividis"].with_extremes(bad="#eeeeee")
    values = [[float("nan") if q is None else q for q in row.quality] for row in rows]
    image = axes.imshow(values, cmap=palette, vmin=0.0, vmax=max(dense, 1e-9), aspect="auto")
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            if value == value:
                colour = "white" if value < 0.6 * dense else "black"
                axes.text(x, y, f"{100 * value:.1f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(sparsities)), [f"{100 * s:.4g} %" for s in sparsities])
    axes.set_yticks(range(len(rows)), [row.layer for row in rows], fontsize=8)
    axes.set_xlabel(f"sparsity of this layer alone (uncut: {100 * dense:.1f} %)")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 2.4 / height + 0.2), format=lambda v, _: f"{100 * v:.0f}")
    bar.set_label("validation accuracy, %")
    bar.outline.set_visible(False)
    return svg(figure)


def annealing_map(values: Mapping[tuple[float, str], float], title: str) -> str:
    """SVG text: temperature down, length of the phase across; each cell holds what the rows there are judged by.

    Args:
        values: by temperature and length (as written: ``0.5``, ``2ep``).
        title: above it.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    temperatures = sorted({tau for tau, _ in values}, reverse=True)
    lengths = sorted({length for _, length in values}, key=in_order)
    figure = Figure(figsize=(2.4 + 0.8 * len(lengths), 1.5 + 0.42 * len(temperatures)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    grid = [[values.get((tau, length), float("nan")) for length in lengths] for tau in temperatures]
    low, high = min(values.values()), max(values.values())
    palette = colormaps["cividis"].with_extremes(bad="#f2f2f2")
    axes.imshow(grid, cmap=palette, vmin=low, vmax=high if high > low else low + 1, aspect="auto")
    for y, row in enumerate(grid):
        for x, value in enumerate(row):
            if value == value:
                colour = "white" if value < low + 0.6 * (high - low) else "black"
                axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(lengths)), lengths)
    axes.set_yticks(range(len(temperatures)), [f"{tau:g}" for tau in temperatures])
    axes.set_xlabel("length of the annealing")
    axes.set_ylabel("temperature")
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return svg(figure)
