"""Table and plots of ensembles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from lehr.base.environment import environment
from lehr.report.drawing import COLOURS, CURVES, DENSE, look, svg
from lehr.report.ensemble_rows import Column, EnsembleRow, columns_of, names, words

MEANING = {
    "members": "answers that are put together: one of every network, all of one that is an ensemble by itself",
    "accuracy %, NLL, ECE, Brier": "of the mean of the members' probabilities, on the whole test set; ECE over 15 bins",
    "logits": "of the mean of their logits instead",
    "corrupted %, c…": "the same on corrupted images, mean over corruptions and severities",
    "vs …": "the difference from one row with its 95 % interval, paired by seed (Welch's for a row of other seeds)",
    "scaled": "with one temperature, fitted on the validation set",
    "each %, apart %, over seeds %": "mean accuracy of the members alone, the standard deviation among them, and that of one member over seeds: the root of the variance, mean over members",
    "disagree %, KL, error corr.": "over pairs of members: share of unlike answers, Kullback-Leibler divergence, correlation of errors",
    "epochs, train TFLOP": "of all runs that the members come from, each counted once; operations as if zeros were skipped",
    "MFLOP kept, nonzeros": "of one example for all members, if zeros were skipped; weights that are not 0",
    "KB, x one net, x at 32": "all members in one file; the time of the fastest way to ask them, for one example and for 32, over that of one dense network, at the first seed",
}
"""What the columns say."""

FEWEST = 5  # predictions of a bin that is drawn


def markdown(rows: Sequence[EnsembleRow]) -> str:
    """A table in Markdown.

    Args:
        rows: of the table.
    """
    columns = columns_of(rows)
    titles = _names(columns)
    lines = ["| " + " | ".join(titles) + " |", "|---" + "|---:" * (len(titles) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(words(row, columns)) + " |" for row in rows)]) + "\n"


def page(
    rows: Sequence[EnsembleRow],
    scores: str,
    reliability: str,
    command: str,
    about: str = "",
    lacking: Sequence[str] = (),
) -> str:
    """One self-contained HTML page: the table, both plots, and the machine.

    Args:
        rows: of the table.
        scores, reliability: SVG text.
        command: what was typed.
        about: what corrupted images are.
        lacking: sentences about ensembles that are not there.
    """
    templates = Environment(
        loader=PackageLoader("lehr.report", "."), autoescape=select_autoescape(["jinja"]), undefined=StrictUndefined
    )
    columns = columns_of(rows)
    return templates.get_template("ensembles.html.jinja").render(
        names=_names(columns), rows=[words(row, columns) for row in rows], scores=Markup(scores), reliability=Markup(reliability),
        command=command, environment=environment(), about=about, lacking=lacking, meaning=MEANING, fewest=FEWEST, lines=CURVES,
    )  # fmt: skip


def _names(columns: Sequence[Column]) -> list[str]:
    return ["ensemble", "members", *(column.heading for column in columns), "seeds"]


def reliability_plot(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """SVG text: accuracy against confidence by bins, a line for each ensemble; honest ones lie on the diagonal.

    Args:
        found: by name, bins as `lehr.analysis.calibration.Bin.as_dict` gives them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 5.6))
    figure.set_layout_engine("constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    above.plot([0, 1], [0, 1], color=DENSE, linewidth=0.8, linestyle=(0, (2, 2)))
    for i, (name, bins) in enumerate(found.items()):
        own = [row for row in bins if row["count"] >= FEWEST]
        style = {**look(i), "markersize": 4, "linewidth": 1.3}
        above.plot([row["confidence"] for row in own], [row["accuracy"] for row in own], label=name, **style)
        total = sum(row["count"] for row in bins)
        below.plot([row["confidence"] for row in own], [row["count"] / total for row in own], **style)
    above.set_ylabel("accuracy")
    figure.legend(*above.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    below.set_ylabel("share")
    below.set_yscale("log")
    below.set_xlabel("confidence: mean of the highest probability in the bin")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def scores_plot(rows: Sequence[EnsembleRow]) -> str:
    """SVG text: accuracy, NLL and ECE of every ensemble, on clean and, where judged, on corrupted data; mean and spread.

    Args:
        rows: of the table.
    """
    from matplotlib.figure import Figure

    called = names(rows)
    corrupted = any("corrupted nll" in row.mean for row in rows)
    figure = Figure(figsize=(9.6, (0.9 + 0.32 * len(rows)) * (2 if corrupted else 1)))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(2 if corrupted else 1, 3, sharey=True, squeeze=False)
    for line, prefix in zip(panels, ("", "corrupted "), strict=False):
        for axes, (measure, unit, factor) in zip(
            line, (("accuracy", "accuracy, %", 100), ("nll", "NLL, nats", 1), ("ece", "ECE", 1)), strict=True
        ):
            for place, row in enumerate(rows):
                if prefix + measure in row.mean:
                    sd = row.sd[prefix + measure]
                    axes.errorbar(
                        factor * row.mean[prefix + measure], place, xerr=None if math.isnan(sd) else factor * sd, color=COLOURS[place % len(COLOURS)],
                        marker="o", markersize=5, capsize=2.5, linewidth=1,
                    )  # fmt: skip
            axes.set_xlabel(f"{prefix}{unit}", fontsize=8)
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    panels[0][0].set_yticks(range(len(called)), called)
    panels[0][0].set_ylim(len(called) - 0.5, -0.5)  # the first on top
    return svg(figure)
