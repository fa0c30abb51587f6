"""Gather the small result files of a study and make one summary of its comparisons.

    python experiments/collect.py RUNS DEST

RUNS holds comparisons made by `lehr compare`; their ``results.json`` and ``accuracy.svg`` are copied to
DEST/NAME, and DEST/summary.md gets a table a comparison: test accuracy (%) by method and sparsity.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from lehr.report.summary import Row
from lehr.report.table import with_spread


def summary(rows: list[Row]) -> str:
    """Methods down, sparsities across; the best mean of each column is bold."""
    sparsities = sorted({row.sparsity for row in rows if row.sparsity})
    labels = list(dict.fromkeys(row.label for row in rows if row.sparsity))
    lines = [
        "| method | " + " | ".join(f"{100 * s:.4g} %" for s in sparsities) + " |",
        "|---|" + "---:|" * len(sparsities),
    ]
    best = {s: max(row.accuracy for row in rows if row.sparsity == s) for s in sparsities}
    for label in labels:
        cells = []
        for sparsity in sparsities:
            row = next(r for r in rows if (r.label, r.sparsity) == (label, sparsity))
            text = with_spread(row.accuracy, row.accuracy_sd, 2)
            cells.append(f"**{text}**" if row.accuracy == best[sparsity] else text)
        lines.append(f"| {label.replace(':', ', ')} | " + " | ".join(cells) + " |")
    dense = "; ".join(
        f"{row.label} {with_spread(row.accuracy, row.accuracy_sd, 2)}" for row in rows if not row.sparsity
    )
    seeds = {row.n for row in rows}
    return "\n".join(lines) + f"\n\nDense: {dense}. n = {', '.join(map(str, sorted(seeds)))}.\n"


def main() -> None:
    """Copy and summarise."""
    runs, destination = Path(sys.argv[1]), Path(sys.argv[2])
    parts = []
    for folder in sorted(path.parent for path in runs.glob("*/results.json")):
        target = destination / folder.name
        target.mkdir(parents=True, exist_ok=True)
        for name in ("results.json", "accuracy.svg"):
            if (folder / name).exists():
                shutil.copyfile(folder / name, target / name)
        value = json.loads((folder / "results.json").read_text())
        parts.append(f"### {folder.name}\n\n{summary([Row.from_dict(row) for row in value['rows']])}")
    (destination / "summary.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
