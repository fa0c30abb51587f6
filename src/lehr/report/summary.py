"""Rows of a comparison: mean and spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from lehr.analysis.paired import Difference, mean_ranks, paired_difference


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

    @property
    def row(self) -> tuple[str, str, float]:
        """The row that it belongs to: panel, label, sparsity."""
        return (self.panel, self.label, self.sparsity)

    @property
    def failed(self) -> bool:
        """Whether it has no scores."""
        return "failed" in self.result

    @property
    def score(self) -> float:
        """What it is judged by on the test set: accuracy in %, or for language bits per character."""
        scores = self.result["test"]
        return float(scores["bits_per_character"] if "bits_per_character" in scores else 100 * scores["accuracy"])


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


def summarise(
    cells: Sequence[Cell],
    choose_seeds: Collection[int] | None = None,
    *,
    against: str = "one-shot",
    confirming: bool = False,
) -> list[Row]:
    """One row for each panel, label and sparsity, at the choice of best mean validation accuracy (NLL for language).

    Choices (learning rates, and what else a study chooses) are compared on the seeds that all of them
    have, and of those only on `choose_seeds` where given; ties go to the lower rate. A choice at which a run
    failed is out of the running while there is one at which none did. A row without a single score
    is left out. Rows are ordered by panel and sparsity, then as the cells came.

    Args:
        cells: the runs.
        choose_seeds: those that choose; None for all.
        against: the label of the row that others at the same panel and sparsity are compared with, seed by seed.
        confirming: count only seeds that chose nothing.
    """
    groups: dict[tuple[str, str, float], dict[tuple[float, str], list[Cell]]] = {}
    for cell in cells:
        groups.setdefault(cell.row, {}).setdefault((cell.lr, cell.choice), []).append(cell)
    chosen: dict[tuple[str, str, float], list[Cell]] = {}
    for place, choices in groups.items():
        found = best_choice(choices, choose_seeds)
        if found is not None:
            counted = [c for c in choices[found] if not (confirming and c.seed in (choose_seeds or ()))]
            if any(not cell.failed for cell in counted):
                chosen[place] = counted
    ranks = _ranks(chosen)
    rows = []
    for place, counted in chosen.items():
        reference = _reference(chosen, place, against)
        pairs = None if reference is None else difference(counted, reference)
        row = replace(_row(counted), rank=ranks.get(place, math.nan))
        rows.append(row if pairs is None else replace(row, difference=pairs.mean, low=pairs.low, high=pairs.high))
    panels = {panel: i for i, panel in enumerate(dict.fromkeys(cell.panel for cell in cells))}
    order = {id(row): i for i, row in enumerate(rows)}
    return sorted(rows, key=lambda row: (panels[row.panel], row.sparsity, order[id(row)]))


def _reference(
    chosen: Mapping[tuple[str, str, float], Sequence[Cell]], place: tuple[str, str, float], against: str
) -> Sequence[Cell] | None:
    """The runs that a row is compared with: at the same panel and sparsity, and on the same terms."""
    if is_variant(place[1], against):
        return None
    for (panel, label, sparsity), cells in chosen.items():
        alike = (panel, sparsity, cells[0].terms) == (place[0], place[2], chosen[place][0].terms)
        if alike and is_variant(label, against):
            return cells
    return None


def is_variant(label: str, against: str) -> bool:
    """Whether a row is that of a method, with other settings perhaps.

    >>> is_variant("one-shot:epochs=5", "one-shot"), is_variant("one-shots", "one-shot")
    (True, False)
    """
    return label == against or label.startswith(f"{against}:")


def difference(first: Sequence[Cell], second: Sequence[Cell]) -> Difference | None:
    """Of the scores of two sets of runs, over the seeds that both have; None where there are none.

    Children of one parent are not independent: their mean counts once.
    """
    one, other = _by_seed(first), _by_seed(second)
    common = sorted(one.keys() & other.keys())
    return paired_difference([one[s] for s in common], [other[s] for s in common]) if common else None


def overall_ranks(cells: Sequence[Cell], rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """For each panel the mean rank of every label over the sparsities and seeds that have all of them."""
    result = {}
    for panel in dict.fromkeys(row.panel for row in rows):
        blocks: dict[tuple[float, int], dict[str, float]] = {}
        for row in rows:
            if row.panel == panel and row.sparsity:
                for seed, value in _by_seed(cells_of_row(cells, row)).items():
                    blocks.setdefault((row.sparsity, seed), {})[row.label] = -value if row.language else value
        whole = max((len(block) for block in blocks.values()), default=0)
        ranks = mean_ranks([block for block in blocks.values() if len(block) == whole])
        if len(ranks) > 1:
            result[panel] = dict(sorted(ranks.items(), key=lambda pair: pair[1]))
    return result


def cells_of_row(cells: Sequence[Cell], row: Row) -> list[Cell]:
    """The runs that a row is the mean of."""
    return [c for c in cells if c.row == row.row and (c.lr, c.choice) == (row.lr, row.choice) and not c.failed]


def _by_seed(cells: Sequence[Cell]) -> dict[int, float]:
    """The mean score of the runs of each parent's seed."""
    scores: dict[int, list[float]] = {}
    for cell in cells:
        if not cell.failed:
            scores.setdefault(cell.seed, []).append(cell.score)
    return {seed: statistics.fmean(values) for seed, values in scores.items()}


def _ranks(chosen: Mapping[tuple[str, str, float], Sequence[Cell]]) -> dict[tuple[str, str, float], float]:
    """The mean rank of every row among those of its panel and sparsity."""
    result: dict[tuple[str, str, float], float] = {}
    for panel, sparsity in dict.fromkeys((panel, sparsity) for panel, _, sparsity in chosen if sparsity):
        blocks: dict[int, dict[str, float]] = {}
        for place, cells in chosen.items():
            if (place[0], place[2]) == (panel, sparsity):
                sign = -1 if any("bits_per_character" in c.result.get("test", {}) for c in cells) else 1
                for seed, value in _by_seed(cells).items():
                    blocks.setdefault(seed, {})[place[1]] = sign * value
        whole = max((len(block) for block in blocks.values()), default=0)
        ranks = mean_ranks([block for block in blocks.values() if len(block) == whole])
        result |= {(panel, label, sparsity): rank for label, rank in ranks.items() if len(ranks) > 1}
    return result


def _row(cells: Sequence[Cell]) -> Row:
    """The row of the cells of one choice."""
    scored = [cell for cell in cells if not cell.failed]
    tests = [cell.result["test"] for cell in scored]
    bits = [scores["bits_per_character"] for scores in tests if "bits_per_character" in scores]
    accuracy = [100 * scores["accuracy"] for scores in tests]
    nll = [scores["nll"] for scores in tests]
    first = scored[0]
    if first.member is not None:  # siblings are no seeds: their mean counts once
        accuracy, nll, bits = (_by_family(scored, values) for values in (accuracy, nll, bits))
    return Row(
        label=first.label,
        sparsity=first.sparsity,
        lr=first.lr,
        n=len(accuracy),
        accuracy=statistics.fmean(accuracy),
        accuracy_sd=spread(accuracy),
        nll=statistics.fmean(nll),
        nll_sd=spread(nll),
        validation_accuracy=100 * _mean(scored, "validation", "accuracy"),
        nonzeros=round(statistics.fmean(cell.result["nonzeros"] for cell in scored)),
        seconds=statistics.fmean(cell.seconds for cell in scored),
        bits=statistics.fmean(bits) if bits else math.nan,
        bits_sd=spread(bits),
        panel=first.panel,
        choice=first.choice,
        failed=len(cells) - len(scored),
    )


def _by_family(cells: Sequence[Cell], values: Sequence[float]) -> list[float]:
    """The mean of each family: of the members of one parent."""
    groups: dict[tuple[int, int], list[float]] = {}
    for cell, value in zip(cells, values, strict=False):
        groups.setdefault((cell.seed, cell.replicate), []).append(value)
    return [statistics.fmean(own) for own in groups.values()]


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


def _mean(cells: Sequence[Cell], split: str, score: str) -> float:
    return statistics.fmean(cell.result[split][score] for cell in cells)
