"""A row of the table of ensembles, and the columns that it may have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class EnsembleRow:
    """One kind of ensemble: mean and sample standard deviation over seeds of every measure by name.

    Measures are those of the mean of probabilities; with ``logits `` before them those of the mean of logits.
    """

    label: str
    members: int
    n: int
    mean: dict[str, float]
    sd: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; an undefined spread is None."""
        sd = {name: None if math.isnan(value) else value for name, value in self.sd.items()}
        mean = {name: None if math.isnan(value) else value for name, value in self.mean.items()}
        return {"label": self.label, "members": self.members, "n": self.n, "mean": mean, "sd": sd}


class Column(NamedTuple):
    """A column of the table: its heading, the measure that it shows, the factor to its unit, and digits after the point (None: three that count)."""

    heading: str
    measure: str
    factor: float = 1
    digits: int | None = 3


COLUMNS = (
    Column("accuracy %", "accuracy", 100, 2),
    Column("NLL", "nll"),
    Column("ECE", "ece"),
    Column("Brier", "brier"),
    Column("logits %", "logits accuracy", 100, 2),
    Column("logits NLL", "logits nll"),
    Column("logits ECE", "logits ece"),
    Column("logits Brier", "logits brier"),
    Column("corrupted %", "corrupted accuracy", 100, 2),
    Column("cNLL", "corrupted nll"),
    Column("cECE", "corrupted ece"),
    Column("cBrier", "corrupted brier"),
    Column("logits c%", "logits corrupted accuracy", 100, 2),
    Column("logits cNLL", "logits corrupted nll"),
    Column("logits cECE", "logits corrupted ece"),
    Column("logits cBrier", "logits corrupted brier"),
    Column("scaled NLL", "scaled nll"),
    Column("scaled ECE", "scaled ece"),
    Column("each %", "member accuracy", 100, 2),
    Column("apart %", "member spread", 100, 2),
    Column("over seeds %", "member spread over seeds", 100, 2),
    Column("disagree %", "disagreement", 100, 1),
    Column("KL", "kl"),
    Column("error corr.", "error_correlation", 1, 2),
    Column("epochs", "epochs", 1, 0),
    Column("train TFLOP", "training_flops", 1e-12, None),
    Column("MFLOP kept", "kept_flops", 1e-6, None),
    Column("nonzeros", "nonzeros", 1, 0),
    Column("KB", "bytes", 1e-3, 0),
    Column("x one net", "latency", 1, 2),
    Column("x at 32", "latency of many", 1, 2),
)


def columns_of(rows: Sequence[EnsembleRow]) -> list[Column]:
    """The columns that some row has."""
    return [column for column in COLUMNS if any(column.measure in row.mean for row in rows)]


def words(row: EnsembleRow, columns: Sequence[Column]) -> list[str]:
    """A row as text: the name, members, mean and spread of each measure, seeds.

    >>> words(EnsembleRow("random", 4, 3, {"accuracy": 0.9}, {"accuracy": 0.01}), COLUMNS[:2])
    ['random', '4', '90.00 ± 1.00', '', '3']
    """
    cells = []
    for _, name, factor, digits in columns:
        if name not in row.mean or math.isnan(row.mean[name]):
            cells.append("")
            continue
        sd = row.sd.get(name, math.nan) * factor
        shown = not math.isnan(sd) and digits and not name.startswith("latency")
        told = f"{factor * row.mean[name]:,.{digits}f}" if digits is not None else f"{factor * row.mean[name]:.3g}"
        cells.append(told + (f" ± {sd:.{digits}f}" if shown else ""))
    return [row.label, str(row.members), *cells, str(row.n)]


def names(rows: Sequence[EnsembleRow]) -> list[str]:
    """What the rows are called where members have no column: ensembles of one label go by their number."""
    labels = [row.label for row in rows]
    return [f"{row.label}, {row.members}" if labels.count(row.label) > 1 else row.label for row in rows]
