"""Mean ranks of methods over blocks: what was run on the same seed at the same sparsity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lehr.analysis.paired import mean_ranks
from lehr.report.cells import Cell, by_seed
from lehr.report.rows import Row, cells_of_row

Place = tuple[str, str, float]  # panel, label, sparsity
Blocks = dict[tuple[float, int], dict[str, float]]  # by sparsity and seed, the score of each label; higher is better


def place_ranks(chosen: Mapping[Place, Sequence[Cell]]) -> dict[Place, float]:
    """The mean rank over seeds of every place among those of its panel and sparsity; dense networks have none."""
    result: dict[Place, float] = {}
    for panel, sparsity in dict.fromkeys((panel, sparsity) for panel, _, sparsity in chosen if sparsity):
        own = {label: cells for (at, label, s), cells in chosen.items() if (at, s) == (panel, sparsity)}
        found = _ranked(_blocks((label, sparsity, cells) for label, cells in own.items()))
        result |= {(panel, label, sparsity): rank for label, rank in found.items()}
    return result


def overall_ranks(cells: Sequence[Cell], rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """For each panel the mean rank of every label over the sparsities and seeds that have all of them, the best first."""
    result = {}
    for panel in dict.fromkeys(row.panel for row in rows):
        own = [row for row in rows if row.panel == panel and row.sparsity]
        found = _ranked(_blocks((row.label, row.sparsity, cells_of_row(cells, row)) for row in own))
        if found:
            result[panel] = dict(sorted(found.items(), key=lambda pair: pair[1]))
    return result


def _blocks(groups: Iterable[tuple[str, float, Sequence[Cell]]]) -> Blocks:
    blocks: Blocks = {}
    for label, sparsity, cells in groups:
        sign = -1.0 if any(cell.language for cell in cells) else 1.0
        for seed, value in by_seed(cells).items():
            blocks.setdefault((sparsity, seed), {})[label] = sign * value
    return blocks


def _ranked(blocks: Blocks) -> dict[str, float]:
    """Over the blocks that have the most labels; nothing where there is one label."""
    most = max((len(block) for block in blocks.values()), default=0)
    found = mean_ranks([block for block in blocks.values() if len(block) == most])
    return found if len(found) > 1 else {}
