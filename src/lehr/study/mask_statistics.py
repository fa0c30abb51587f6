"""What the masks of tickets are: how dense each layer is, how alike seeds' masks are, and how far the weights inside went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from lehr.analysis.stability import overlap, travel
from lehr.base.steps import spelled
from lehr.masks import Mask
from lehr.report.cells import Cell
from lehr.runs import RunFolder
from lehr.study.copies import steps_in_order
from lehr.study.findings import Findings
from lehr.study.ticket import NAME

MASKS = {NAME: "ticket", "shuffle": "random"}


@dataclass(frozen=True)
class MaskLayerRow:
    """One layer of the masks of one level, rewound to one step; means over seeds.

    Args:
        start: the step that they were rewound to.
        mask: ``ticket`` or ``random``.
        level: density of the whole mask.
        layer: the parameter.
        density: of the layer.
        overlap: ``|a & b| / |a | b|`` of two seeds' masks; None for one seed.
        chance: what two random masks of that density would have, ``d / (2 - d)``.
        travel: ``|m (w' - w)| / |m w|`` from step k to the end; None where the weights of step k are all 0.
    """

    start: str
    mask: str
    level: float
    layer: str
    density: float
    overlap: float | None
    chance: float
    travel: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def mask_statistics(found: Findings) -> list[MaskLayerRow]:
    """Rows by step, level, mask and layer, of tickets that were reset to step k and whose weights are there; none of others."""
    runs = {run.folder: run for run in found.runs}
    groups: dict[tuple[str, float, str], list[Cell]] = {}
    for cell in found.cells:
        run = runs[Path(cell.path).name]
        if run.kind == "ticket" and cell.label in MASKS and cell.sparsity:
            groups.setdefault((spelled(run.settings.start), cell.sparsity, MASKS[cell.label]), []).append(cell)
    rows, in_order = [], steps_in_order(found)
    for start, sparsity, mask in sorted(groups, key=lambda key: (in_order(key[0]), key[1], key[2] != "ticket")):
        folders = [RunFolder(cell.path) for cell in groups[start, sparsity, mask]]
        if all(folder.mask.is_file() and folder.model.is_file() and folder.origin.is_file() for folder in folders):
            rows += _layers(start, mask, sparsity, folders)
    return rows


def _layers(start: str, mask: str, sparsity: float, folders: Sequence[RunFolder]) -> list[MaskLayerRow]:
    masks = [Mask.load(folder.mask) for folder in folders]
    shared = [overlap(a, b) for a, b in combinations(masks, 2)]
    went = [travel(folder.origin_weights(), folder.weights(), own) for folder, own in zip(folders, masks, strict=True)]
    rows = []
    for name in masks[0]:
        density = fmean(float(own[name].double().mean()) for own in masks)
        alike = fmean(one[name] for one in shared) if shared else None
        mean = fmean(one[name] for one in went)
        far = mean if isfinite(mean) else None  # from nothing, any way is infinitely far
        rows.append(MaskLayerRow(start, mask, 1.0 - sparsity, name, density, alike, density / (2.0 - density), far))
    return rows
