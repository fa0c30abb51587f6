"""How many granules each layer keeps: exact totals, by largest remainder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, prod

from lehr.base.errors import LehrError


def round_half_up(x: float) -> int:
    """``floor(x + 1/2)``.

    >>> round_half_up(2.5), round_half_up(2.4999)
    (3, 2)
    """
    return floor(x + 0.5)


def total_kept(sparsity: float, size: int) -> int:
    """``round(size - sparsity * size)``, half up.

    Not ``(1 - sparsity) * size``, whose rounding would show: ``(1 - 0.9) * 25`` is 2.4999999999999996.

    >>> total_kept(0.9, 25), total_kept(0.995, 266_200), total_kept(0.0, 7)
    (3, 1331, 7)
    """
    return round_half_up(size - sparsity * size + 1e-9)


def largest_remainder(shares: Mapping[str, float], total: int, caps: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers near real shares, that sum to `total`, none above its cap.

    Each gets the floor of its share; what is missing goes to the largest remainders first (ties: to
    the first listed), and past the caps to whoever has room.

    >>> largest_remainder({"a": 1.5, "b": 1.5, "c": 3.0}, 6, {"a": 9, "b": 9, "c": 9})
    {'a': 2, 'b': 1, 'c': 3}
    """
    if total > sum(caps.values()):
        raise LehrError(f"{total} weights are to be kept and only {sum(caps.values())} may be: ask for more sparsity")
    counts = {name: min(floor(share + 1e-9), caps[name]) for name, share in shares.items()}
    order = sorted(shares, key=lambda name: floor(shares[name] + 1e-9) - shares[name])
    missing = total - sum(counts.values())
    while missing:
        for name in order if missing > 0 else reversed(order):
            step = 1 if missing > 0 else -1
            if missing and 0 <= counts[name] + step <= caps[name]:
                counts[name] += step
                missing -= step
    return counts


def uniform(
    shapes: Mapping[str, Sequence[int]], sparsity: float, sizes: Mapping[str, int] | None = None
) -> dict[str, float]:
    """The same density everywhere: share ``(1 - s) N_l``, with N_l granules in layer l (default: weights).

    >>> uniform({"w": (4, 5)}, 0.5)
    {'w': 10.0}
    """
    return {name: (1.0 - sparsity) * n for name, n in _sizes(shapes, sizes).items()}


def _sizes(shapes: Mapping[str, Sequence[int]], sizes: Mapping[str, int] | None) -> dict[str, int]:
    return {name: prod(shape) if sizes is None else sizes[name] for name, shape in shapes.items()}


def erk(
    shapes: Mapping[str, Sequence[int]], sparsity: float, sizes: Mapping[str, int] | None = None
) -> dict[str, float]:
    """Erdős-Rényi-kernel shares: density of a layer ``eps * sum(shape) / prod(shape)``, at most 1.

    `eps` makes the total ``(1 - s) N``; a layer that would exceed density 1 is dense and the rest
    share what is left (Evci et al. 2020, 1911.11134). Small layers come out denser than large ones.

    >>> shares = erk({"small": (10, 10), "large": (100, 100)}, 0.9)
    >>> round(sum(shares.values())), round(shares["small"]), round(shares["large"])
    (1010, 92, 918)
    """
    counts = _sizes(shapes, sizes)
    raw = {name: counts[name] * sum(shape) / max(1, prod(shape)) for name, shape in shapes.items()}
    dense: set[str] = set()
    while True:
        left = (1.0 - sparsity) * sum(counts.values()) - sum(counts[name] for name in dense)
        weight = sum(raw[name] for name in raw if name not in dense)
        eps = max(left, 0.0) / weight if weight else 0.0
        full = {name for name in raw if name not in dense and eps * raw[name] > counts[name]}
        if not full:
            return {name: float(counts[name]) if name in dense else eps * raw[name] for name in raw}
        dense |= full


DISTRIBUTIONS = {"uniform": uniform, "erk": erk}
