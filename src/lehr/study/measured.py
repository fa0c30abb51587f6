"""What `lehr stability` leaves in a study's folder: numbers, mask statistics and plots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lehr.base.files import write_json, write_text
from lehr.report.between import stability_plot
from lehr.study.copies import left_out
from lehr.study.findings import Findings
from lehr.study.mask_statistics import MaskLayerRow, mask_statistics
from lehr.study.stability import Stability, stability


@dataclass(frozen=True)
class Measured:
    """Stability of every step and level of a study, its masks by layer, what a failed run costs in words, and the plots."""

    rows: tuple[Stability, ...]
    layers: tuple[MaskLayerRow, ...]
    left_out: tuple[str, ...]
    plots: tuple[Path, ...] = ()

    @property
    def steps(self) -> tuple[str, ...]:
        """Those that were gone back to, in order."""
        return tuple(dict.fromkeys(row.start for row in self.rows))

    @property
    def smallest(self) -> float:
        """The density of the last level."""
        return min(row.density for row in self.rows)

    def at(self, step: str) -> list[Stability]:
        """The rows of one step."""
        return [row for row in self.rows if row.start == step]

    def last_ticket(self, step: str) -> list[MaskLayerRow]:
        """The layers of the ticket of the last level."""
        own = [row for row in self.layers if row.start == step and row.mask == "ticket"]
        return [row for row in own if abs(row.level - self.smallest) < 1e-9]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rows": [row.as_dict() for row in self.rows],
            "masks": [row.as_dict() for row in self.layers],
            "left_out": list(self.left_out),
        }


def measure(found: Findings, out: Path, *, points: int, bn_batches: int) -> Measured:
    """Measure the copies of a study, and write ``stability.json``, ``masks.json``, a plot for each step over the levels, and with several steps one over
    the steps, ``stability.svg``; plots of before are gone.

    Args:
        found, points, bn_batches: as `lehr.study.stability.stability` has them.
        out: its folder.

    Raises:
        LehrError: as there.
    """
    rows = stability(found, out, points=points, bn_batches=bn_batches)
    measured = Measured(tuple(rows), tuple(mask_statistics(found)), tuple(left_out(found)))
    told = [row.as_dict() for row in rows]
    write_json(out / "stability.json", told)
    write_json(out / "masks.json", [row.as_dict() for row in measured.layers])
    drawn = {
        out / f"stability-{step}.svg": stability_plot([row for row in told if row["start"] == step])
        for step in measured.steps
    }
    if len(measured.steps) > 1:
        least = [row for row in told if row["density"] in (1.0, measured.smallest)]
        drawn[out / "stability.svg"] = stability_plot(least, "start")
    for stale in set(out.glob("stability*.svg")) - set(drawn):
        stale.unlink()
    for path, plot in drawn.items():
        write_text(path, plot)
    return replace(measured, plots=tuple(drawn))
