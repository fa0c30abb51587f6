"""Filters over a batch: sums of shifted copies, so that an image's bits do not depend on its neighbours.

Arrays are (N, H, W) or (N, H, W, C); axes 1 and 2 are filtered. `border` says what lies outside, in NumPy's words:
``edge`` aaa|abc|ccc, ``symmetric`` cba|abc|cba, ``reflect`` dcb|abcd|cba.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lehr.analysis.corruptions.draws import Array

Border = Literal["edge", "symmetric", "reflect"]


def padded(images: Array, rows: int, columns: int, border: Border) -> Array:
    """The images with this many rows and columns more on every side.

    >>> padded(np.array([[[1.0, 2.0]]]), 0, 1, "edge").tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    """
    widths = [(0, 0), (rows, rows), (columns, columns)] + [(0, 0)] * (images.ndim - 3)
    return np.pad(images, widths, mode=border)


def gaussian(images: Array, sigma: float, *, border: Border = "edge", truncate: float = 4.0) -> Array:
    """Gaussian blur: weights ``exp(-i^2 / (2 sigma^2))``, normalised, for ``|i| <= floor(truncate sigma + 1/2)``.

    Sums run in the order of ``scipy.ndimage.gaussian_filter`` (outermost first), so the bits agree with it.

    >>> spike = np.zeros((1, 1, 5))
    >>> spike[0, 0, 2] = 1
    >>> gaussian(spike, 0.5, truncate=2).round(3).tolist()
    [[[0.0, 0.107, 0.787, 0.107, 0.0]]]
    """
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return images.copy()
    weights = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    half = (weights / weights.sum())[: radius + 1]
    for axis in (1, 2):
        wide = padded(images, radius * (axis == 1), radius * (axis == 2), border)
        shifted = [_part(wide, axis, by, images.shape[axis]) for by in range(2 * radius + 1)]
        images = shifted[radius] * half[radius]
        for by in range(radius):
            images += (shifted[by] + shifted[-1 - by]) * half[by]
    return images


def _part(images: Array, axis: int, start: int, length: int) -> Array:
    return images[:, start : start + length] if axis == 1 else images[:, :, start : start + length]


def correlate(images: Array, kernel: Array, border: Border) -> Array:
    """``out[h, w] = sum over (i, j) of kernel[i, j] in[h + i - r, w + j - r]``, of a square kernel with an odd side.

    Whole numbers stay exact.

    >>> correlate(np.array([[[1.0, 2.0, 4.0]]]), np.array([[0, 0, 0], [-1, 0, 1], [0, 0, 0]]), "edge").tolist()
    [[[1.0, 3.0, 2.0]]]
    """
    radius = len(kernel) // 2
    height, width = images.shape[1:3]
    wide = padded(images, radius, radius, border)
    result = np.zeros(images.shape)
    for i, j in np.argwhere(kernel):
        result += kernel[i, j] * wide[:, i : i + height, j : j + width]
    return result
