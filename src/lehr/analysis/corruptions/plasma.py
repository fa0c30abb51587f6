"""Plasma fractals: random clouds."""

from __future__ import annotations

import numpy as np

from lehr.analysis.corruptions.draws import Array, Draws


def plasma(height: int, width: int, decay: float, draws: Draws, part: int = 0) -> Array:
    """Clouds in [0, 1] by the diamond-square algorithm, float64 of shape (N, height, width).

    On a torus whose side is the next power of two: the middle of each square of side s is the mean of its four corners,
    then the middle of each edge the mean of its four neighbours, each plus ``w^2 U(-1, 1)``; s halves and w is divided by
    `decay` until s = 1, from w = 100. Stretched to [0, 1], then cut. Fournier, Fussell & Carpenter, CACM 25(6), 1982; the
    variant is that of Hendrycks & Dietterich 2019, arXiv:1903.12261.

    >>> clouds = plasma(32, 28, 2.0, Draws(0, "doc", 1, 0, 3))
    >>> clouds.shape, bool((clouds >= 0).all() and (clouds <= 1).all())
    ((3, 32, 28), True)
    """
    side = 1 << (max(height, width) - 1).bit_length()
    wobble = draws.uniform(-1, 1, side * side, part=part)
    clouds = np.zeros((draws.count, side, side))
    used, step, reach = 1, side, 100.0  # number 0 would be the corner, which stays 0

    def settle(neighbours: Array) -> Array:
        nonlocal used
        points = neighbours.shape[1] * neighbours.shape[2]
        noise = wobble[:, used : used + points].reshape(neighbours.shape)
        used += points
        return neighbours / 4 + reach**2 * noise

    while step > 1:
        half = step // 2
        corners = clouds[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        middles = settle(pairs + np.roll(pairs, -1, axis=2))
        beside = corners + np.roll(corners, -1, axis=2) + middles + np.roll(middles, 1, axis=1)
        below = corners + np.roll(corners, -1, axis=1) + middles + np.roll(middles, 1, axis=2)
        clouds[:, half::step, half::step] = middles
        clouds[:, ::step, half::step] = settle(beside)
        clouds[:, half::step, ::step] = settle(below)
        step, reach = half, reach / decay
    clouds -= clouds.min(axis=(1, 2), keepdims=True)
    clouds /= clouds.max(axis=(1, 2), keepdims=True)
    return clouds[:, :height, :width]
