"""Noise: every channel of every pixel has numbers of its own."""

from __future__ import annotations

import numpy as np

from lehr.analysis.corruptions.contract import corruption
from lehr.analysis.corruptions.draws import Array, Draws

GAUSSIAN = (0.04, 0.06, 0.08, 0.09, 0.10)  # standard deviation, in units of white
SHOT = (500, 250, 100, 75, 50)  # photons of a white channel
IMPULSE = (0.01, 0.02, 0.03, 0.05, 0.07)  # fraction of the values that are replaced
SPECKLE = (0.06, 0.10, 0.12, 0.16, 0.20)  # standard deviation, in units of the value itself


@corruption
def gaussian_noise(images: Array, severity: int, draws: Draws) -> Array:
    """Noise of low light: ``x + s n``, n standard normal, s = 0.04 … 0.10.

    Images (N, H, W, 3) in [0, 1], as for every corruption. Hendrycks & Dietterich 2019, arXiv:1903.12261.

    >>> grey = np.full((1, 32, 32, 3), 0.5)
    >>> print(round(float(gaussian_noise(grey, 5, Draws(0, "gaussian_noise", 5, 0, 1)).std()), 2))
    0.1
    """
    return images + GAUSSIAN[severity - 1] * draws.normal(*images.shape[1:])


@corruption
def shot_noise(images: Array, severity: int, draws: Draws) -> Array:
    """Noise of counting light: ``Poisson(c x) / c``, c = 500 … 50 photons. arXiv:1903.12261.

    >>> black = np.zeros((1, 32, 32, 3))
    >>> float(shot_noise(black, 5, Draws(0, "shot_noise", 5, 0, 1)).max())
    0.0
    """
    photons = SHOT[severity - 1]
    return draws.poisson(images * photons) / photons


@corruption
def impulse_noise(images: Array, severity: int, draws: Draws) -> Array:
    """Salt and pepper: a fraction p = 0.01 … 0.07 of the values becomes 1 or 0, evenly. arXiv:1903.12261.

    One uniform number u a value: 0 where ``u < p / 2``, 1 where ``p / 2 <= u < p``.

    >>> grey = np.full((1, 32, 32, 3), 0.5)
    >>> np.unique(impulse_noise(grey, 1, Draws(0, "impulse_noise", 1, 0, 1))).tolist()
    [0.0, 0.5, 1.0]
    """
    fraction = IMPULSE[severity - 1]
    chance = draws.uniform(0, 1, *images.shape[1:])
    return np.where(chance < fraction / 2, 0.0, np.where(chance < fraction, 1.0, images))


@corruption
def speckle_noise(images: Array, severity: int, draws: Draws) -> Array:
    """Noise in proportion to the value: ``x + x s n``, n standard normal, s = 0.06 … 0.20. arXiv:1903.12261.

    >>> black = np.zeros((1, 32, 32, 3))
    >>> float(speckle_noise(black, 5, Draws(0, "speckle_noise", 5, 0, 1)).max())
    0.0
    """
    return images + images * (SPECKLE[severity - 1] * draws.normal(*images.shape[1:]))
