"""What a table has no row for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lehr.report.cells import Cell


def unscored(cells: Sequence[Cell]) -> list[str]:
    """A sentence for every row of which each run has failed, with the reason most of them gave.

    >>> failed = {"failed": "fc2 would keep no weight: use --layer-floor"}
    >>> unscored([Cell("SNIP", 0.999, 0.1, seed, "", failed, [], 1.0) for seed in (0, 1)])
    ['SNIP at 99.9 % has no row, its 2 runs failed: fc2 would keep no weight: use --layer-floor']
    """
    groups: dict[tuple[str, str, float], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.row, []).append(cell)
    sentences = []
    for (panel, label, sparsity), own in groups.items():
        if all(cell.failed for cell in own):
            reason, _ = Counter(str(cell.result["failed"]) for cell in own).most_common(1)[0]
            where = f"{label.replace(':', ', ')} at {100 * sparsity:.4g} %" if sparsity else label
            runs = f"its {len(own)} runs" if len(own) > 1 else "its run"
            sentences.append(f"{where}{f' ({panel})' if panel else ''} has no row, {runs} failed: {reason}")
    return sentences
