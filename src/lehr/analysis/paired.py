"""Is one better than the other? Differences with their confidence interval, of pairs or of two means, and mean ranks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import rankdata, t, ttest_ind

from lehr.base.errors import require

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """The mean of n differences, or the difference of two means the fewer of which is of n, and its confidence interval; the interval of a single one is unknown (NaN)."""

    mean: float
    low: float
    high: float
    n: int


def paired_difference(first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """``mean(d) ± t(1 - (1 - confidence) / 2, n - 1) sd(d) / sqrt(n)`` of ``d = first - second`` (Student 1908).

    Args:
        first, second: scores of two methods, pair by pair (the same seeds), of any unit.
        confidence: of the interval, in (0, 1).

    Raises:
        LehrError: the two are not of one length, or empty.

    >>> d = paired_difference([2.0, 3.0, 5.0], [1.0, 2.0, 3.0])
    >>> round(d.mean, 4), round(d.low, 4), round(d.high, 4), d.n
    (1.3333, -0.1009, 2.7676, 3)
    """
    require(len(first) == len(second) > 0, f"{len(first)} and {len(second)} scores make no pairs: give one a seed")
    differences = [a - b for a, b in zip(first, second, strict=True)]
    n, mean = len(differences), statistics.fmean(differences)
    if n == 1:
        return Difference(mean, math.nan, math.nan, 1)
    half = float(t.ppf(0.5 + confidence / 2, n - 1)) * statistics.stdev(differences) / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n)


def unpaired_difference(first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """``mean(first) - mean(second)`` of independent scores, with the interval of Welch 1947: their variances may differ.

    Args:
        first, second: scores of two methods, two at least of each, of any unit.
        confidence: of the interval, in (0, 1).

    Raises:
        LehrError: there are not two of each.

    >>> d = unpaired_difference([2.0, 3.0, 5.0, 6.0], [1.0, 2.0])
    >>> round(d.mean, 4), round(d.low, 4), round(d.high, 4), d.n
    (2.5, -0.3921, 5.3921, 2)
    """
    n = min(len(first), len(second))
    require(n >= 2, f"{len(first)} and {len(second)} scores have no spread: give two of each at least")
    mean = statistics.fmean(first) - statistics.fmean(second)
    if statistics.variance(first) == statistics.variance(second) == 0:
        return Difference(mean, mean, mean, n)
    interval = ttest_ind(first, second, equal_var=False).confidence_interval(confidence)
    return Difference(mean, float(interval.low), float(interval.high), n)


def mean_ranks(blocks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean rank of each name over blocks (the same seed and sparsity), 1 for the highest; ties share theirs.

    Only names that every block has are ranked (Friedman 1937).

    >>> mean_ranks([{"a": 3.0, "b": 1.0}, {"a": 2.0, "b": 2.0}])
    {'a': 1.25, 'b': 1.75}
    """
    names = [name for name in (blocks[0] if blocks else {}) if all(name in block for block in blocks)]
    if not names:
        return {}
    ranks = [rankdata([-block[name] for name in names]) for block in blocks]
    return {name: float(statistics.fmean(rank[i] for rank in ranks)) for i, name in enumerate(names)}
