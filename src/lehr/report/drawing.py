"""What all plots share: colours, lines, axes, and SVG text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

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


def figure_of(
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


def log_axis(axes: Axes, which: Literal["x", "y"] = "y") -> None:
    """A log axis that is labelled at 1, 2, 5, 10, ..."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(lambda value, _: f"{value:,.12g}")
    axis.set_minor_formatter(NullFormatter())


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
