"""How far annealing has come: s(u) falls from 1 at u = 0 to exactly 0 at u = 1.

`u` in [0, 1] is progress through the annealing phase. A user's own function of `u` serves as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lehr.base.errors import LehrError, unknown
from lehr.base.registry import Registry

Schedule = Callable[[float], float]

schedules: Registry[Schedule] = Registry("schedule")


@schedules.register("linear")
def linear(u: float) -> float:
    """``1 - u``.

    >>> linear(0.25)
    0.75
    """
    return 1.0 - u


@schedules.register("cosine")
def cosine(u: float) -> float:
    """``(1 + cos(pi u)) / 2``: slow at both ends.

    >>> cosine(0.0), round(cosine(0.5), 12), cosine(1.0)
    (1.0, 0.5, 0.0)
    """
    return 0.0 if u >= 1 else (1.0 + math.cos(math.pi * u)) / 2


@schedules.register("exponential")
def exponential(u: float, g: float = 0.01) -> float:
    """``(g^u - g) / (1 - g)``: falls by the same factor in equal times, shifted to reach 0; g = 0.01.

    >>> exponential(0.0), exponential(1.0), round(exponential(0.5), 4)
    (1.0, 0.0, 0.0909)
    """
    return float((g**u - g) / (1.0 - g))


@schedules.register("cubic")
def cubic(u: float) -> float:
    """``(1 - u)^3``, the path of gradual magnitude pruning (Zhu & Gupta, 1710.01878).

    >>> cubic(0.5)
    0.125
    """
    return (1.0 - u) ** 3


def log_density(u: float, start: float, density: float) -> float:
    """tau(u) whose expected density is ``D(u) = D0^(1-u) d^u``: equal times, equal factors of density.

    ``tau(u) = (D(u) - d) / (1 - d)`` with ``D0 = d + (1 - d) start``; `start` is tau at u = 0 and
    `density` the target's. Unlike the others it depends on the density: at 98 % sparsity a
    temperature of 0.5 is a network 25 times denser than its target.

    >>> log_density(0.0, 0.5, 0.02), log_density(1.0, 0.5, 0.02)
    (0.5, 0.0)
    >>> d0 = 0.02 + 0.98 * 0.5
    >>> round(0.02 + 0.98 * log_density(0.5, 0.5, 0.02), 6) == round((d0 * 0.02) ** 0.5, 6)
    True
    """
    if u <= 0 or start <= 0 or density >= 1:
        return start if u < 1 else 0.0
    if u >= 1:
        return 0.0
    first = density + (1.0 - density) * start
    return float((first ** (1.0 - u) * density**u - density) / (1.0 - density))


LOG_DENSITY = "log-density"
NAMES = (*schedules, LOG_DENSITY)


def temperature(schedule: str | Schedule, u: float, start: float, density: float) -> float:
    """``start * s(u)``, or the log-density path; the user's own function is checked to be in [0, 1].

    >>> temperature("linear", 0.5, 0.8, 0.1)
    0.4
    >>> temperature(lambda u: 2.0, 0.5, 0.8, 0.1)
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: the schedule gave 2.0 at u = 0.5: it must stay in [0, 1]
    """
    if schedule == LOG_DENSITY:
        return log_density(u, start, density)
    value = float((schedules[schedule] if isinstance(schedule, str) else schedule)(u))
    if not 0.0 <= value <= 1.0:
        raise LehrError(f"the schedule gave {value} at u = {u}: it must stay in [0, 1]")
    return start * value


def check_schedule(schedule: str | Schedule) -> None:
    """Raise unless this is the name of a schedule or a function that ends at exactly 0.

    >>> check_schedule("cosine")
    >>> check_schedule(lambda u: 1 - 0.9 * u)
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: the schedule is 0.1 at u = 1: it must end at exactly 0, or weights outside the target stay
    """
    if isinstance(schedule, str):
        if schedule not in NAMES:
            raise unknown("schedule", schedule, NAMES)
        return
    last = float(schedule(1.0))
    if last != 0.0:
        raise LehrError(
            f"the schedule is {last:g} at u = 1: it must end at exactly 0, or weights outside the target stay"
        )
