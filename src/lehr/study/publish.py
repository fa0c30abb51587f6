"""What a study leaves behind: table, report, and the best sparse network as files."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from lehr.base.files import write_beside, write_json, write_text
from lehr.report.cells import Cell, quality
from lehr.report.html import write_report
from lehr.report.plots import accuracy_plot, density_plot
from lehr.report.rows import Row, cells_of_row
from lehr.study.findings import Findings

SEVERAL = 3  # sparsities, from which on a plot over densities says more


def publish(found: Findings, out: Path, command: Sequence[str]) -> dict[str, str]:
    """Write ``table.md``, ``accuracy.svg``, ``report.html`` and ``best/`` beside the results; return the paths by name.

    ``best/`` holds the network that validation prefers at the highest sparsity, with its mask.
    """
    for stale in [*out.glob("accuracy*.svg"), *out.glob("density*.svg")]:  # of an earlier version of the study
        stale.unlink()
    write_text(out / "table.md", found.markdown())
    panels = list(dict.fromkeys(row.panel for row in found.rows))
    for i, panel in enumerate(panels):
        name = "accuracy.svg" if len(panels) == 1 else f"accuracy-{i + 1}.svg"
        own = [row for row in found.rows if row.panel == panel]
        if any(row.sparsity for row in own):
            write_text(out / name, accuracy_plot(own))
        if len({row.sparsity for row in own if row.sparsity}) >= SEVERAL and not any(row.language for row in own):
            write_text(out / name.replace("accuracy", "density"), density_plot(own))
    files = {
        "table": str(out / "table.md"),
        "report": str(write_report(out / "report.html", found.page(shlex.join(command)))),
        "results": str(out / "results.parquet"),
    }
    # Accuracies on other data, or of other networks, are not to be compared.
    best = best_cell(found.rows, found.cells) if len(panels) == 1 else None
    if best is not None:  # else the network of an earlier time stays: weights may be gone, and it is all there is
        for stale in out.glob("best/*"):
            stale.unlink()
        for name in ("model.safetensors", "mask.safetensors"):
            source = Path(best.path) / name
            write_beside(out / "best" / name, lambda beside, source=source: shutil.copyfile(source, beside))  # type: ignore[misc]
        write_json(
            out / "best" / "origin.json",
            {"method": best.label, "sparsity": best.sparsity, "lr": best.lr, "seed": best.seed, "result": best.result},
        )
        files["network"] = str(out / "best" / "model.safetensors")
    return files


def best_cell(rows: Sequence[Row], cells: Sequence[Cell]) -> Cell | None:
    """At the highest sparsity, the run that validation prefers in the row that it prefers; None if no network is left."""
    top = max((row.sparsity for row in rows), default=0.0)
    candidates: list[tuple[float, list[Cell]]] = []
    for row in rows:
        own = cells_of_row(cells, row)
        kept = [c for c in own if (Path(c.path) / "mask.safetensors").is_file()]
        if row.sparsity == top and top > 0 and kept:
            candidates.append((fmean(quality(c.result) for c in own), kept))
    if not candidates:
        return None
    _, cells_of_best = max(candidates, key=lambda pair: pair[0])
    return max(cells_of_best, key=lambda c: (quality(c.result), -c.result["validation"]["nll"]))
