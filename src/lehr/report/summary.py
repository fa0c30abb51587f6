"""Rows of a comparison: mean and spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One finished run of a comparison."""

    label: str
    sparsity: float
    lr: float
    seed: int
    path: str
    result: dict[str, Any]
    metrics: list[dict[str, Any]]
    seconds: float


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

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Row:
        """The row back from `as_dict`."""
        filled: dict[str, Any] = {k: math.nan if v is None else v for k, v in values.items()}
        return cls(**filled)


def spread(values: Sequence[float]) -> float:
    """The sample standard deviation; NaN for fewer than two values.

    >>> round(spread([1.0, 2.0, 3.0]), 3)
    1.0
    """
    return statistics.stdev(values) if len(values) > 1 else math.nan


def summarise(cells: Sequence[Cell]) -> list[Row]:
    """One row for each label and sparsity, at its learning rate of best mean validation accuracy (NLL for language).

    Rates are compared on the seeds that all of them have; ties go to the lower rate. A rate
    at which a run diverged is out of the running. Rows are ordered by sparsity, then as the cells came.
    """
    diverged = {(cell.label, cell.sparsity, cell.lr) for cell in cells if "failed" in cell.result}
    cells = [cell for cell in cells if (cell.label, cell.sparsity, cell.lr) not in diverged]
    groups: dict[tuple[str, float], dict[float, list[Cell]]] = {}
    for cell in cells:
        groups.setdefault((cell.label, cell.sparsity), {}).setdefault(cell.lr, []).append(cell)
    rows = []
    for (label, sparsity), by_lr in groups.items():
        lr = _best_rate(by_lr)
        chosen = by_lr[lr]
        tests = [cell.result["test"] for cell in chosen]
        bits = [scores["bits_per_character"] for scores in tests if "bits_per_character" in scores]
        accuracy = [100 * cell.result["test"]["accuracy"] for cell in chosen]
        nll = [cell.result["test"]["nll"] for cell in chosen]
        rows.append(
            Row(
                label=label,
                sparsity=sparsity,
                lr=lr,
                n=len(chosen),
                accuracy=statistics.fmean(accuracy),
                accuracy_sd=spread(accuracy),
                nll=statistics.fmean(nll),
                nll_sd=spread(nll),
                validation_accuracy=100 * _mean(chosen, "validation", "accuracy"),
                nonzeros=round(statistics.fmean(cell.result["nonzeros"] for cell in chosen)),
                seconds=statistics.fmean(cell.seconds for cell in chosen),
                bits=statistics.fmean(bits) if bits else math.nan,
                bits_sd=spread(bits),
            )
        )
    order = {id(row): i for i, row in enumerate(rows)}
    return sorted(rows, key=lambda row: (row.sparsity, order[id(row)]))


def _best_rate(by_lr: dict[float, list[Cell]]) -> float:
    common = set.intersection(*({cell.seed for cell in cells} for cells in by_lr.values()))
    return max(
        sorted(by_lr),
        key=lambda rate: statistics.fmean(quality(c.result) for c in by_lr[rate] if c.seed in common),
    )


def quality(result: dict[str, Any]) -> float:
    """What runs are chosen by, on validation: accuracy, or for language the negative NLL; higher is better.

    >>> quality({"task": "language-modelling", "validation": {"accuracy": 0.5, "nll": 1.5}})
    -1.5
    """
    scores = result["validation"]
    return float(-scores["nll"] if result.get("task") == "language-modelling" else scores["accuracy"])


def _mean(cells: Sequence[Cell], split: str, score: str) -> float:
    return statistics.fmean(cell.result[split][score] for cell in cells)
