"""One run of a study as its tables see it, and which choice of settings runs speak for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One run of a study that has ended: its place in the tables, its result (scores, or why it failed), its epochs.

    `choice` tells the values of settings, other than the learning rate, that validation chooses among; `replicate` is the
    seed of the run itself, where several start from the parent of one `seed`.
    """

    label: str
    sparsity: float
    lr: float
    seed: int
    path: str
    result: dict[str, Any]
    metrics: list[dict[str, Any]]
    seconds: float
    panel: str = ""
    choice: str = ""
    replicate: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    terms: str = ""  # what two rows must have alike to be compared
    member: int | None = None  # of an ensemble: which; None for what is none
    choosing: tuple[str, str, float] | None = None  # rows that are of one choice, if these are more than its own

    @property
    def row(self) -> tuple[str, str, float]:
        """The row that it belongs to: panel, label, sparsity."""
        return (self.panel, self.label, self.sparsity)

    @property
    def chooser(self) -> tuple[str, str, float]:
        """The rows that are of one choice."""
        return self.choosing or self.row

    @property
    def failed(self) -> bool:
        """Whether it has no scores."""
        return "failed" in self.result

    @property
    def language(self) -> bool:
        """Whether it has been judged by bits per character."""
        return "bits_per_character" in self.result.get("test", {})

    @property
    def score(self) -> float:
        """What it is judged by on the test set: accuracy in %, or for language bits per character."""
        scores = self.result["test"]
        return float(scores["bits_per_character"] if self.language else 100 * scores["accuracy"])


def by_seed(cells: Sequence[Cell]) -> dict[int, float]:
    """The mean score of the runs of each parent's seed."""
    scores: dict[int, list[float]] = {}
    for cell in cells:
        if not cell.failed:
            scores.setdefault(cell.seed, []).append(cell.score)
    return {seed: statistics.fmean(values) for seed, values in scores.items()}


def best_choice(
    choices: Mapping[tuple[float, str], Sequence[Cell]], seeds: Collection[int] | None = None
) -> tuple[float, str] | None:
    """The learning rate and the rest of the choice that validation prefers; None where every run failed.

    >>> good = {"validation": {"accuracy": 0.9}}
    >>> cells = {(lr, ""): [Cell("a", 0.9, lr, 0, "", r, [], 1.0)] for lr, r in [(0.1, {"failed": "inf"}), (0.05, good)]}
    >>> best_choice(cells)
    (0.05, '')
    """
    if len(choices) == 1:
        return next(iter(choices)) if any(not cell.failed for cells in choices.values() for cell in cells) else None
    choosing = {key: [c for c in cells if seeds is None or c.seed in seeds] for key, cells in choices.items()}
    scored = {key: [c for c in cells if not c.failed] for key, cells in choosing.items()}
    whole = {key: cells for key, cells in scored.items() if cells and len(cells) == len(choosing[key])}
    running = whole or {key: cells for key, cells in scored.items() if cells}
    if not running:
        return None
    common = set.intersection(*({cell.seed for cell in cells} for cells in running.values()))

    def mean(key: tuple[float, str]) -> float:
        values = [quality(cell.result) for cell in running[key] if cell.seed in common]
        return statistics.fmean(values) if values else -math.inf

    return max(sorted(running), key=mean)


def quality(result: dict[str, Any]) -> float:
    """What runs are chosen by, on validation: accuracy, or for language the negative NLL; higher is better.

    >>> quality({"task": "language-modelling", "validation": {"accuracy": 0.5, "nll": 1.5}})
    -1.5
    """
    scores = result["validation"]
    return float(-scores["nll"] if result.get("task") == "language-modelling" else scores["accuracy"])
