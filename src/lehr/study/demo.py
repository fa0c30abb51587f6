"""`demo`: the main job on real scans, in about a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lehr.base.errors import require
from lehr.recipes.bench import BenchSettings, bench
from lehr.recipes.pack import PackSettings, pack
from lehr.runtime.native import available
from lehr.study.compare import comparison
from lehr.study.findings import Findings
from lehr.study.publish import best_cell

# The methods that prune a dense network step by step or at once, and annealing toward the target as published and toward one that moves.
METHODS = (
    "one-shot",
    "iterative",
    "gradual",
    "random-annealing",
    "temperature-annealing",
    "temperature-annealing:target=moving",
)

DEMO = comparison(
    METHODS,
    data="digits",
    model="lenet_300_100",
    sparsity=(0.9, 0.98),
    seeds=3,
    epochs=20,
    tune_epochs=20,
    lr=0.1,
    tune_lr=(0.1,),
    batch_size=64,
)
"""LeNet-300-100 on scikit-learn's 1,797 scanned digits: trained, pruned by magnitude, tuned."""


def ship(found: Findings, out: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Pack the network that validation prefers at the highest sparsity, and time it beside torch.

    Returns:
        what `lehr.recipes.pack.pack` and `lehr.recipes.bench.bench` say; None for the latter where the engine was not built.

    Raises:
        LehrError: no sparse network is there.
    """
    best = best_cell(found.rows, found.cells)
    require(
        best is not None,
        f"no sparse network is left in {out}: its runs failed, or their weights were deleted; give a new folder",
    )
    assert best is not None
    packed = pack(PackSettings(run=best.path, values="int8"), out / "best" / "small.lehr")
    return packed, bench(BenchSettings(run=best.path, seconds=0.5)) if available() else None
