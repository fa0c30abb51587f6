"""Gather the small result files of a study and make one summary of its comparisons.

    python experiments/collect.py RUNS DEST

RUNS holds comparisons made by `lehr compare`; their ``results.json`` goes to DEST/NAME with a plot of it, and DEST/summary.md gets a table a comparison: test accuracy (%), or bits per character of a language model, by method and sparsity.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from lehr.base.files import write_json, write_text
from lehr.report.plots import accuracy_plot
from lehr.report.summary import Row
from lehr.report.table import with_spread


def shown(row: Row) -> str:
    """What a row is judged by, with its spread."""
    if row.language:
        return with_spread(row.bits, row.bits_sd, 3)
    return with_spread(row.accuracy, row.accuracy_sd, 2)


def summary(rows: list[Row]) -> str:
    """Methods down, sparsities across; the best mean of each column is bold."""
    sparsities = sorted({row.sparsity for row in rows if row.sparsity})
    labels = list(dict.fromkeys(row.label for row in rows if row.sparsity))
    lines = [
        "| method | " + " | ".join(f"{100 * s:.4g} %" for s in sparsities) + " |",
        "|---|" + "---:|" * len(sparsities),
    ]
    best = {s: max(row.quality for row in rows if row.sparsity == s) for s in sparsities}
    for label in labels:
        cells = []
        for sparsity in sparsities:
            row = next(r for r in rows if (r.label, r.sparsity) == (label, sparsity))
            cells.append(f"**{shown(row)}**" if row.quality == best[sparsity] else shown(row))
        lines.append(f"| {label.replace(':', ', ')} | " + " | ".join(cells) + " |")
    dense = "; ".join(f"{row.label} {shown(row)}" for row in rows if not row.sparsity)
    seeds = {row.n for row in rows}
    return "\n".join(lines) + f"\n\nDense: {dense}. n = {', '.join(map(str, sorted(seeds)))}.\n"


def main() -> None:
    """Gather and summarise."""
    runs, destination = Path(sys.argv[1]), Path(sys.argv[2])
    parts = []
    for folder in sorted(path.parent for path in runs.glob("*/results.json")):
        value = json.loads((folder / "results.json").read_text())
        value["command"] = re.sub(r"--out \S+", f"--out runs/{folder.name}", value["command"])
        rows = [Row.from_dict(row) for row in value["rows"]]
        write_json(destination / folder.name / "results.json", value)
        write_text(destination / folder.name / "accuracy.svg", accuracy_plot(rows))
        parts.append(f"### {folder.name}\n\n{summary(rows)}")
    (destination / "summary.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
