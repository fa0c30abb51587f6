"""A row of a table: a method at a sparsity, over its seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lehr.report.cells import Cell


@dataclass(frozen=True)
class Row:
    """A method at a sparsity: test accuracy (%) and NLL (nats), mean and sample standard deviation over n seeds.

    For language `bits` is bits per character, which is then what counts; NaN otherwise.
    """

    label: str
    sparsity: float
    lr: float
    n: int
    accuracy: float
    accuracy_sd: float
    nll: float
    nll_sd: float
    validation_accuracy: float
    nonzeros: int
    seconds: float
    bits: float = math.nan
    bits_sd: float = math.nan
    panel: str = ""
    choice: str = ""
    failed: int = 0  # runs of this row that have no scores
    difference: float = math.nan  # from the row of reference, pair by pair, in the unit of what is judged
    low: float = math.nan
    high: float = math.nan
    rank: float = math.nan  # mean over seeds, among the rows of this panel and sparsity

    @property
    def row(self) -> tuple[str, str, float]:
        """What tells it from other rows: panel, label, sparsity."""
        return (self.panel, self.label, self.sparsity)

    @property
    def language(self) -> bool:
        """Whether this is a language model, judged by bits and not by accuracy."""
        return not math.isnan(self.bits)

    @property
    def quality(self) -> float:
        """What rows are ranked by: higher is better."""
        return -self.bits if self.language else self.accuracy

    def as_dict(self) -> dict[str, Any]:
        """Plain values; an undefined spread is None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


def spread(values: Sequence[float]) -> float:
    """The sample standard deviation; NaN for fewer than two values.

    >>> round(spread([1.0, 2.0, 3.0]), 3)
    1.0
    """
    return statistics.stdev(values) if len(values) > 1 else math.nan


def cells_of_row(cells: Sequence[Cell], row: Row) -> list[Cell]:
    """The runs that a row is the mean of."""
    return [c for c in cells if c.row == row.row and (c.lr, c.choice) == (row.lr, row.choice) and not c.failed]
