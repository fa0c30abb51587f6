"""What the rows of a comparison show, told in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lehr.report.rows import Row

SPREAD = {"accuracy": 1.0, "bits": 0.05}  # points of accuracy, bits per character: a spread worth a word
NOISY = ("random-annealing", "temperature-annealing", "stochastic-threshold")
MOVING = "stochastic-threshold"  # always toward a target that moves
TIMES = 2.0  # as wide as that of one-shot


def diagnose_rows(rows: Sequence[Row]) -> list[str]:
    """Annealing that gained nothing over one-shot (too cold), and rows whose seeds differ much.

    A gain counts where it exceeds the standard error of the difference of two means; with one seed
    nothing is said.

    >>> from dataclasses import replace
    >>> one = Row("one-shot", 0.9, 0.1, 3, 80.0, 0.3, 0.5, 0.0, 80.0, 10, 1.0)
    >>> diagnose_rows([one, replace(one, label="temperature-annealing", accuracy=80.1)])
    ['temperature-annealing gained nothing over one-shot at 90 % (+0.10 ± 0.24 points): too cold, or too short; raise tau, anneal for longer, or let the target move (target=moving)']
    """
    cold: dict[tuple[str, str], list[str]] = {}
    wide: dict[str, list[str]] = {}
    for row in rows:
        if not row.sparsity or row.n < 2:
            continue
        place = (row.panel, "one-shot", row.sparsity)
        one_shot = next((other for other in rows if other.row == place and other.n > 1), None)
        if one_shot is not None and row is not one_shot:
            cold.setdefault((_name(row), _remedies(row)), []).extend(_no_gain(row, one_shot))
        wide.setdefault(_name(row), []).extend(_wide(row, None if row is one_shot else one_shot))
    return [
        f"{name} gained nothing over one-shot at {', '.join(found)}: too cold, or too short; " + remedies
        for (name, remedies), found in cold.items()
        if found
    ] + [
        f"{name} differs much between seeds at {', '.join(found)}: take more seeds, lower the learning rate, or anneal for longer"
        for name, found in wide.items()
        if found
    ]


def _name(row: Row) -> str:
    return ", ".join(filter(None, [row.label.replace(":", ", "), row.panel]))


def _remedies(row: Row) -> str:
    """Those that a row has not taken already."""
    if row.label.startswith(MOVING) or "target=moving" in row.label:
        return "raise tau, or anneal for longer"
    return "raise tau, anneal for longer, or let the target move (target=moving)"


def _no_gain(row: Row, one_shot: Row) -> list[str]:
    gain = row.quality - one_shot.quality
    error = math.hypot(_sd(row) / math.sqrt(row.n), _sd(one_shot) / math.sqrt(one_shot.n))
    if not row.label.startswith(NOISY) or gain > error:
        return []
    unit = "bits" if row.language else "points"
    return [f"{100 * row.sparsity:.4g} % ({gain:+.2f} ± {error:.2f} {unit})"]


def _wide(row: Row, one_shot: Row | None) -> list[str]:
    limit = SPREAD["bits" if row.language else "accuracy"]
    beside = 0.0 if one_shot is None else _sd(one_shot)
    if _sd(row) <= max(limit, TIMES * beside):
        return []
    unit = "bits" if row.language else "points"
    other = "" if one_shot is None else f", one-shot {beside:.2f}"
    return [f"{100 * row.sparsity:.4g} % (standard deviation {_sd(row):.2f} {unit}{other})"]


def _sd(row: Row) -> float:
    return row.bits_sd if row.language else row.accuracy_sd
