"""Plots of what lies between networks: the line from one to another, and how far copies end up apart."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from lehr.report.drawing import COLOURS, DENSE, svg


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


def stability_plot(rows: Sequence[Mapping[str, Any]], along: Literal["density", "start"] = "density") -> str:
    """SVG text: accuracy, instability, and distances and angles of both stabilities; mean and sample standard deviation over seeds.

    Args:
        rows: as `lehr.study.stability.Stability.as_dict` gives them, of one step k, or of one density.
        along: what is on the horizontal axis; the dense network is at the left of densities, and a line over steps.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 5.8))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(2, 3, sharex=True)
    places = sorted({row[along] for row in rows}, reverse=True) if along == "density" else _steps(rows)
    told = [f"{100 * place:.3g}" if along == "density" else str(place) for place in places]
    for axes, (title, unit, read) in zip(panels.flat, PANELS, strict=True):
        for mask, colour in (("ticket", COLOURS[0]), ("random", COLOURS[1]), ("dense", DENSE)):
            own = [(places.index(row[along]), read(row)) for row in rows if row["mask"] == mask and read(row)]
            if not own:
                continue
            own.sort(key=lambda pair: pair[0])
            axes.errorbar(
                [place for place, _ in own], [statistics.fmean(values) for _, values in own],
                [statistics.stdev(values) if len(values) > 1 else 0.0 for _, values in own], color=colour, label=mask,
                marker="o", markersize=4, linewidth=1.4, capsize=2.5, elinewidth=1, linestyle="--" if mask == "dense" else "-",
            )  # fmt: skip
        axes.set_title(title, fontsize=9)
        axes.set_ylabel(unit, fontsize=8)
        if title != "accuracy":
            low, high = axes.get_ylim()
            axes.set_ylim(min(0.0, low), 1.04 * high)  # values that lie together are at the top of what begins at 0
        axes.set_xticks(range(len(places)), told, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[1][0].axhline(2, color=DENSE, linewidth=0.8, linestyle=(0, (2, 2)))
    for axes in panels[1]:
        axes.set_xlabel("weights left, %" if along == "density" else "rewound to step")
    panels[0][0].legend(frameon=False, fontsize=8)
    least = {row["density"] for row in rows} - {1.0}
    counts = sorted({len(row["accuracy"]) for row in rows})
    seeds = (
        "one seed" if counts == [1] else f"{' to '.join(str(n) for n in (counts[0], counts[-1])[: len(counts)])} seeds"
    )
    what = (
        f"{', '.join(f'{100 * one:.3g} %' for one in sorted(least))} of the weights left"
        if along == "start"
        else f"rewound to step {', '.join(_steps(rows))}"
    )
    figure.suptitle(f"{what}; {seeds}; dashed below: 2 points, taken for connected", fontsize=9)
    return svg(figure)


def _steps(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """As they come, which is in order."""
    return list(dict.fromkeys(row["start"] for row in rows))


def _measured(noise: str, measure: str) -> Callable[[Mapping[str, Any]], list[float]]:
    return lambda row: [one[measure] for one in row[noise]]


PANELS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], list[float]]], ...] = (
    ("accuracy", "%", lambda row: [100 * one for one in row["accuracy"]]),
    ("L2, pruning", "L2 distance", _measured("pruning", "l2")),
    ("angle, pruning", "degrees", _measured("pruning", "angle")),
    ("barrier between two orders of the data", "points of error", lambda row: [100 * one for one in row["barrier"]]),
    ("L2, two orders of the data", "L2 distance", _measured("order", "l2")),
    ("angle, two orders of the data", "degrees", _measured("order", "angle")),
)
"""What is drawn of a row: title, unit, and its values by seed."""
