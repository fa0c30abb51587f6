"""Rows of a comparison: mean and spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from lehr.analysis.paired import Difference, paired_difference
from lehr.report.cells import Cell, best_choice, by_seed
from lehr.report.ranks import place_ranks
from lehr.report.rows import Row, spread


def summarise(
    cells: Sequence[Cell],
    choose_seeds: Collection[int] | None = None,
    *,
    against: str = "one-shot",
    confirming: bool = False,
) -> list[Row]:
    """One row for each panel, label and sparsity, at its choice of best mean validation accuracy (NLL for language).

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
        groups.setdefault(cell.chooser, {}).setdefault((cell.lr, cell.choice), []).append(cell)
    found = {chooser: best_choice(choices, choose_seeds) for chooser, choices in groups.items()}
    chosen: dict[tuple[str, str, float], list[Cell]] = {cell.row: [] for cell in cells}
    for cell in cells:
        kept = not (confirming and cell.seed in (choose_seeds or ()))
        if (cell.lr, cell.choice) == found[cell.chooser] and kept:
            chosen[cell.row].append(cell)
    chosen = {place: counted for place, counted in chosen.items() if any(not cell.failed for cell in counted)}
    ranks = place_ranks(chosen)
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
    one, other = by_seed(first), by_seed(second)
    common = sorted(one.keys() & other.keys())
    return paired_difference([one[s] for s in common], [other[s] for s in common]) if common else None


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


def _mean(cells: Sequence[Cell], split: str, score: str) -> float:
    return statistics.fmean(cell.result[split][score] for cell in cells)
