"""Blurs without motion: Gaussian, out of focus, and frosted glass."""

from __future__ import annotations

import numpy as np

from lehr.analysis.corruptions.contract import corruption
from lehr.analysis.corruptions.draws import Array, Draws
from lehr.analysis.corruptions.filters import correlate, gaussian

GAUSSIAN = (0.4, 0.6, 0.7, 0.8, 1.0)  # sigma in pixels
DEFOCUS = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))  # radius, softening sigma, in pixels
GLASS = ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))  # sigma in pixels, rounds; pixels move by at most one


@corruption
def gaussian_blur(images: Array, severity: int, draws: Draws) -> Array:
    """Gaussian blur of sigma 0.4 … 1 pixels, cut off at 4 sigma; the edge goes on outside. arXiv:1903.12261.

    >>> grey = np.full((1, 16, 16, 3), 0.5)
    >>> bool(np.allclose(gaussian_blur(grey, 5, Draws(0, "gaussian_blur", 5, 0, 1)), 0.5))
    True
    """
    return gaussian(images, GAUSSIAN[severity - 1])


def soft_disk(radius: float, sigma: float) -> Array:
    """Pixels at most `radius` from the middle, equal and of sum 1, softened by a Gaussian of three taps; 5x5.

    >>> soft_disk(1, 0.2).round(3)[1:4, 1:4].tolist()
    [[0.0, 0.2, 0.0], [0.2, 0.2, 0.2], [0.0, 0.2, 0.0]]
    """
    side = np.arange(-2, 3)
    disk = (side[:, None] ** 2 + side**2 <= radius**2).astype(np.float64)
    taps = np.array([np.exp(-0.5 / sigma**2), 1.0, np.exp(-0.5 / sigma**2)])
    taps /= taps.sum()
    kernel: Array = correlate(disk[None] / disk.sum(), np.outer(taps, taps), "edge")[0]
    return kernel


@corruption
def defocus_blur(images: Array, severity: int, draws: Draws) -> Array:
    """Correlation with a softened disk of radius 0.3 … 1.5 pixels; mirrored at the edge pixel. arXiv:1903.12261.

    >>> grey = np.full((1, 16, 16, 3), 0.5)
    >>> bool(np.allclose(defocus_blur(grey, 5, Draws(0, "defocus_blur", 5, 0, 1)), 0.5))
    True
    """
    return correlate(images, soft_disk(*DEFOCUS[severity - 1]), "reflect")


@corruption
def glass_blur(images: Array, severity: int, draws: Draws) -> Array:
    """Pixels displaced at random by at most one, between two Gaussian blurs. arXiv:1903.12261.

    ``x = floor(255 blur(x)) / 255``; in each round pixel (h, w) takes the colour of (h + a, w + b), a and b evenly -1 or
    0, for h, w >= 2; then blur again. The published program means to swap the two pixels, but copies one way: both names
    refer to the same memory. It scans from the far corner to the near one, so each copy reads a pixel not yet written,
    and a round is one gather.

    >>> grey = np.full((1, 16, 16, 3), 0.2)
    >>> bool(np.allclose(glass_blur(grey, 1, Draws(0, "glass_blur", 1, 0, 1)), 0.2))
    True
    """
    sigma, rounds = GLASS[severity - 1]
    count, height, width, _ = images.shape
    result = np.floor(gaussian(images, sigma) * 255) / 255
    image = np.arange(count)[:, None, None]
    rows, columns = np.arange(2, height)[:, None], np.arange(2, width)
    for turn in range(rounds):
        back = draws.uniform(0, 1, 2, height - 2, width - 2, part=turn) < 0.5
        result[:, 2:, 2:] = result[image, rows - back[:, 0], columns - back[:, 1]]
    return gaussian(result, sigma)
