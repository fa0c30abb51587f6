"""Learning rate over the run: a factor of the peak, a pure function of step and length."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from lehr.base.registry import Registry
from lehr.base.steps import parse_length, spelled
from lehr.runs import Settings
from lehr.runs.settings import DROPS

Factor = Callable[[int, int], float]

learning_rates: Registry[Factor] = Registry("learning-rate schedule")
"""Functions ``(step, total) -> factor`` with ``0 <= step < total``."""


@learning_rates.register("constant")
def constant(step: int, total: int) -> float:
    """1 throughout.

    >>> constant(3, 10)
    1.0
    """
    return 1.0


@learning_rates.register("one-cycle")
def one_cycle(step: int, total: int, warmup: float = 0.1, start: float = 0.01, end: float = 1e-6) -> float:
    """Cosine from 1/100 up to 1 over a tenth of the run, then cosine down to 1e-6 (Smith 2018, 1803.09820).

    The lengths and ends are those of the released code of Prune and Tune Ensembles; momentum stays
    constant.

    >>> [round(one_cycle(s, 101), 3) for s in (0, 10, 55, 100)]
    [0.01, 1.0, 0.5, 0.0]
    """
    peak = warmup * (total - 1)
    if step < peak:
        return _between(start, 1.0, step / peak)
    return _between(1.0, end, (step - peak) / max(1.0, total - 1 - peak))


@learning_rates.register("multistep")
def multistep(step: int, total: int) -> float:
    """1, then 0.1 from half of the run, 0.01 from three quarters: `stepped` with its usual drops.

    >>> [multistep(s, 100) for s in (49, 50, 75)]
    [1.0, 0.1, 0.01]
    """
    return stepped(step, total, DROPS)


def stepped(step: int, total: int, drops: Sequence[str], steps_per_epoch: int = 1) -> float:
    """A tenth less at every drop: ``10^-n`` after n of them, each a fraction of the run, ``500it`` or ``2ep``.

    >>> [stepped(s, 100, ("60it", "5ep"), 18) for s in (59, 60, 89, 90)]
    [1.0, 0.1, 0.1, 0.01]
    """
    return float(f"1e-{sum(step >= _place(drop, total, steps_per_epoch) for drop in drops)}")


def _place(length: str, total: int, steps_per_epoch: int) -> float:
    """Where the rate drops: at the first step that is not before it; 0.55 of 100 is 55, although not in floating point."""
    try:
        return float(length) * total - 1e-9
    except ValueError:
        return parse_length(length, steps_per_epoch=steps_per_epoch, total=total)


@learning_rates.register("triangular")
def triangular(step: int, total: int, start: float = 0.01) -> float:
    """Straight from 1/100 up to 1 at half of the run, and straight down: a cycle of fast geometric ensembling (1802.10026).

    >>> [round(triangular(s, 101), 3) for s in (0, 25, 50, 100)]
    [0.01, 0.505, 1.0, 0.01]
    """
    return 1.0 - (1.0 - start) * abs(2 * step / max(1, total - 1) - 1.0)


@learning_rates.register("cosine")
def cosine(step: int, total: int) -> float:
    """``(1 + cos(pi step / total)) / 2`` (Loshchilov & Hutter 2016, 1608.03983).

    >>> cosine(0, 10), round(cosine(5, 10), 3)
    (1.0, 0.5)
    """
    return _between(1.0, 0.0, step / total)


@learning_rates.register("linear")
def linear(step: int, total: int) -> float:
    """``1 - step / total``: linear to zero.

    >>> linear(5, 10)
    0.5
    """
    return 1.0 - step / total


@learning_rates.register("llr")
@learning_rates.register("allr")
def llr(step: int, total: int, warmup: float = 0.1) -> float:
    """Linear to zero after a warm-up from 0 in half a cosine over a tenth of the run (Zimmer et al. 2021, 2111.00843).

    ``allr`` is the same from a peak that goes by how much the cut took away: see `adaptive_peak`.

    >>> [round(llr(s, 100), 2) for s in (0, 5, 10, 55, 99)]
    [0.0, 0.5, 1.0, 0.5, 0.01]
    """
    end = warmup * total
    if step < end:
        return _between(0.0, 1.0, step / end)
    return (total - step) / (total - end)


def schedule_of(settings: Settings, steps_per_epoch: int) -> Factor:
    """The schedule that settings ask for: with its drops, and ``min(1, step / w)`` of it over a warm-up of w steps.

    >>> settings = Settings(data="digits", model="lenet5", epochs=1, schedule="constant", warmup="4it")
    >>> [schedule_of(settings, 10)(step, 10) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    own = learning_rates[settings.schedule]
    if settings.schedule == "multistep":
        own = partial(stepped, drops=settings.drops, steps_per_epoch=steps_per_epoch)
    if spelled(settings.warmup) == "0":
        return own

    def warmed(step: int, total: int) -> float:
        steps = parse_length(settings.warmup, steps_per_epoch=steps_per_epoch, total=total)
        return own(step, total) * (min(1.0, step / steps) if steps else 1.0)

    return warmed


def adaptive_peak(norm_before: float, norm_after: float, sparsity: float, share: float) -> float:
    """The factor of ALLR on the peak rate: ``clip(q / sqrt(s), share, 1)``, ``q = sqrt(|a^2 - b^2|) / a``.

    Args:
        norm_before, norm_after: a and b, the L2 norms of all parameters before and after the cut.
        sparsity: s, the fraction of the weights that is cut.
        share: tuning epochs over the epochs that the parent was trained for, at most 1; 0 if unknown.

    >>> round(adaptive_peak(1.0, 0.8, 0.81, 0.1), 4), adaptive_peak(1.0, 1.0, 0.81, 0.1)
    (0.6667, 0.1)
    """
    if sparsity <= 0 or norm_before <= 0:
        return min(max(share, 0.0), 1.0)
    drop = math.sqrt(abs(norm_before**2 - norm_after**2)) / norm_before
    return min(1.0, max(min(share, 1.0), drop / math.sqrt(sparsity)))


def _between(a: float, b: float, u: float) -> float:
    return b + (a - b) * (1.0 + math.cos(math.pi * u)) / 2.0
