"""Plots of what lies between networks: the line from one to another, and how far copies end up apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lehr.report.plots import COLOURS, DENSE, svg


def line_plot(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """SVG text: error along the line between two networks, a curve for each part of the data, and 2 % above its ends.

    Args:
        parts: by name of the part, ``alphas``, ``errors`` and ``barrier`` as `lehr.recipes.connect.connect` gives them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    for i, (name, part) in enumerate(parts.items()):
        errors = [100 * e for e in part["errors"]]
        label = f"{name}, barrier {100 * part['barrier']:.1f} points"
        axes.plot(part["alphas"], errors, color=COLOURS[i], marker="o", markersize=3, linewidth=1.4, label=label)
        axes.axhline((errors[0] + errors[-1]) / 2 + 2, color=COLOURS[i], linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_xlabel("place on the line (0 is the first network, 1 the second)")
    axes.set_ylabel("error, %")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return svg(figure)


def stability_plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """SVG text: L2 distance and angle against density, tickets beside random masks, for pruning and for the order of the data.

    Args:
        rows: as `lehr.study.stability.Stability.as_dict` gives them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 5.6))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(2, 2, sharex=True)
    densities = sorted({row["density"] for row in rows}, reverse=True)
    for column, (noise, title) in enumerate((("pruning", "to pruning"), ("order", "to the order of the data"))):
        for line, (measure, label) in enumerate((("l2", "L2 distance"), ("angle", "angle, degrees"))):
            axes = panels[line][column]
            for mask, colour in (("ticket", COLOURS[0]), ("random", DENSE)):
                own = {row["density"]: row[noise][measure] for row in rows if row["mask"] == mask}
                places = range(len(densities))
                values = [own[density] for density in densities]
                axes.plot(places, values, color=colour, marker="o", markersize=4, linewidth=1.4, label=mask)
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xticks(range(len(densities)), [f"{100 * density:.3g}" for density in densities])
            if not line:
                axes.set_title(f"stability {title}", fontsize=9)
            else:
                axes.set_xlabel("weights left, %")
            if not column:
                axes.set_ylabel(label)
    panels[0][0].legend(frameon=False, fontsize=8)
    return svg(figure)
