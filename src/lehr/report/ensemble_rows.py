"""A row of the table of ensembles, and the columns that it may have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from lehr.analysis.paired import Difference


@dataclass(frozen=True)
class EnsembleRow:
    """One kind of ensemble: mean and sample standard deviation over seeds of every measure by name, and differences `against` another row by seed.

    Measures are those of the mean of probabilities; with ``logits `` before them those of the mean of logits.
    """

    label: str
    members: int
    n: int
    mean: dict[str, float]
    sd: dict[str, float]
    against: Mapping[str, Difference] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; an undefined spread is None."""
        sd = {name: None if math.isnan(value) else value for name, value in self.sd.items()}
        mean = {name: None if math.isnan(value) else value for name, value in self.mean.items()}
        against = {
            name: {side: None if math.isnan(value) else value for side, value in asdict(one).items()}
            for name, one in self.against.items()
        }
        return {"label": self.label, "members": self.members, "n": self.n, "mean": mean, "sd": sd, "against": against}


class Column(NamedTuple):
    """A column of the table: its heading, the measure that it shows, the factor to its unit, digits after the point (None: three that count), and whether it is of differences."""

    heading: str
    measure: str
    factor: float = 1
    digits: int | None = 3
    compared: bool = False


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
    Column("vs %", "accuracy", 100, 2, True),
    Column("vs NLL", "nll", 1, 3, True),
    Column("vs ECE", "ece", 1, 3, True),
    Column("vs c%", "corrupted accuracy", 100, 2, True),
    Column("vs cNLL", "corrupted nll", 1, 3, True),
    Column("vs cECE", "corrupted ece", 1, 3, True),
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
    return [
        column
        for column in COLUMNS
        if any(column.measure in (row.against if column.compared else row.mean) for row in rows)
    ]


def words(row: EnsembleRow, columns: Sequence[Column]) -> list[str]:
    """A row as text: the name, members, mean and spread of each measure, seeds.

    >>> words(EnsembleRow("random", 4, 3, {"accuracy": 0.9}, {"accuracy": 0.01}), COLUMNS[:2])
    ['random', '4', '90.00 ± 1.00', '', '3']
    """
    cells = []
    for _, name, factor, digits, compared in columns:
        if compared:
            cells.append(_difference(row.against[name], factor, digits or 0) if name in row.against else "")
            continue
        if name not in row.mean or math.isnan(row.mean[name]):
            cells.append("")
            continue
        sd = row.sd.get(name, math.nan) * factor
        shown = not math.isnan(sd) and digits and not name.startswith("latency")
        told = f"{factor * row.mean[name]:,.{digits}f}" if digits is not None else f"{factor * row.mean[name]:.3g}"
        cells.append(told + (f" ± {sd:.{digits}f}" if shown else ""))
    return [row.label, str(row.members), *cells, str(row.n)]


def _difference(found: Difference, factor: float, digits: int) -> str:
    """The mean, and the interval where there is one."""
    mean, low, high = (f"{factor * value:+.{digits}f}" for value in (found.mean, found.low, found.high))
    return mean if found.n == 1 else f"{mean} [{low}, {high}]"


def names(rows: Sequence[EnsembleRow]) -> list[str]:
    """What the rows are called where members have no column."""
    return numbered([(row.label, row.members) for row in rows])


def numbered(kinds: Sequence[tuple[str, int]]) -> list[str]:
    """What ensembles of a label and so many members are called: those of one label go by their number.

    >>> numbered([("dense", 1), ("random", 2), ("random", 4)])
    ['dense', 'random, 2', 'random, 4']
    """
    labels = [label for label, _ in dict.fromkeys(kinds)]
    return [f"{label}, {members}" if labels.count(label) > 1 else label for label, members in kinds]
