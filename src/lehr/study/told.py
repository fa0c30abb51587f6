"""What was judged, told: table, plots, numbers and a page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lehr.base.files import write_json, write_text
from lehr.recipes.questions import EnsembleSettings
from lehr.report.drawing import CURVES
from lehr.report.ensemble_rows import EnsembleRow, numbered
from lehr.report.ensembles import markdown, page, reliability_plot, scores_plot
from lehr.study.ensembles import ensemble_rows, labels
from lehr.study.judged import Judged, there


def measured_before(judged: Judged) -> list[str]:
    """A sentence on the ensembles whose bytes and times are of before, if there are any."""
    gone = [f"{team.label}, seed {team.seed}" for team, _ in judged if not there(team)]
    told = f"{gone[0]}, and {len(gone) - 1} more have" if gone[1:] else f"{''.join(gone)}, has"
    return [f"{told} the bytes and times that were measured while the weights were there"] if gone else []


def publish(
    judged: Judged,
    out: Path,
    command: Sequence[str],
    settings: EnsembleSettings,
    lacking: Sequence[str] = (),
    against: str | None = None,
) -> tuple[list[EnsembleRow], dict[str, str]]:
    """Write table, plots, numbers and a page of what was judged, `against` a row of it, and what is `missing`; the rows, and the paths by name."""
    rows = ensemble_rows(judged, against)
    about = settings.about() if settings.asked else ""
    told = [f"Corrupted: {about}."] if about else []
    told += (
        [f"vs: the difference from {against} [95 %], paired by seed; Welch's interval for a row of other seeds."]
        if against
        else []
    )
    told += lacking
    write_text(out / "ensembles.md", markdown(rows) + "".join(f"\n{text}\n" for text in told))
    write_json(out / "ensembles.json", {
        "rows": [row.as_dict() for row in rows], "left_out": list(lacking),
        "ensembles": [{"label": team.label, "seed": team.seed, "runs": [Path(run).name for run in team.runs], **result} for team, result in judged],
    })  # fmt: skip
    reliability, scores = reliability_plot(best_lines(judged)), scores_plot(rows)
    write_text(out / "reliability.svg", reliability)
    write_text(out / "ensembles.svg", scores)
    write_text(out / "ensembles.html", page(rows, scores, reliability, shlex.join(command), about, lacking))
    names = {
        "page": "ensembles.html",
        "table": "ensembles.md",
        "numbers": "ensembles.json",
        "scores": "ensembles.svg",
        "reliability": "reliability.svg",
    }
    return rows, {name: str(out / file) for name, file in names.items()}


def best_lines(judged: Judged) -> dict[str, Any]:
    """The reliability of the ensembles that are best by NLL, as many as can be told apart in a plot; each at its first seed."""
    firsts: dict[str, dict[str, Any]] = {}
    kinds = [(label, r["count"]) for label, (_, r) in zip(labels([team for team, _ in judged]), judged, strict=True)]
    for name, (_, result) in zip(numbered(kinds), judged, strict=True):
        firsts.setdefault(name, result)
    best = sorted(firsts, key=lambda label: firsts[label]["probabilities"]["nll"])[:CURVES]
    return {label: result["reliability"] for label, result in firsts.items() if label in best}
