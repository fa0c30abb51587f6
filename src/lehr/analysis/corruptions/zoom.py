"""Zoom blur: the camera moves towards the scene."""

from __future__ import annotations

import math

import numpy as np

from lehr.analysis.corruptions.contract import corruption
from lehr.analysis.corruptions.draws import Array, Draws

ENDS = (1.06, 1.11, 1.16, 1.21, 1.26)  # of the factors 1, 1.01, 1.02 …


def enlarge(images: Array, factor: float) -> Array:
    """The middle of the images, enlarged by `factor` to the same size, along axes 1 and 2.

    Along an axis of n pixels: the middle c = ceil(n / factor) are stretched to m = round(c factor), first on first and
    last on last, with straight lines between neighbours; the middle n of these are kept.

    >>> enlarge(np.arange(4.0).reshape(1, 1, 4), 2).round(2).tolist()
    [[[1.0, 1.33, 1.67, 2.0]]]
    """
    for axis in (1, 2):
        length = images.shape[axis]
        kept = math.ceil(length / factor)
        grown = round(kept * factor)
        place = ((grown - length) // 2 + np.arange(length)) * ((kept - 1) / max(grown - 1, 1))
        near = np.minimum(np.floor(place), max(kept - 2, 0)).astype(np.intp)
        far = np.minimum(near + 1, kept - 1)
        share = (place - near).reshape([-1 if a == axis else 1 for a in range(images.ndim)])
        first = (length - kept) // 2
        images = images.take(first + near, axis) * (1 - share) + images.take(first + far, axis) * share
    return images


@corruption
def zoom_blur(images: Array, severity: int, draws: Draws) -> Array:
    """The mean of the image and of its enlargements by 1, 1.01, 1.02 … up to 1.06 … 1.25. arXiv:1903.12261.

    ``(x + sum over z of enlarge(x, z)) / (K + 1)`` with K = 7, 12, 16, 21, 26 factors. They are those of NumPy's arange, to
    the bit: rounding lets the ends 1.06 and 1.11 in, and 1.25 is a little more, which enlarges by one pixel more.

    >>> grey = np.full((1, 16, 16, 3), 0.5)
    >>> bool(np.allclose(zoom_blur(grey, 5, Draws(0, "zoom_blur", 5, 0, 1)), 0.5))
    True
    """
    factors = np.arange(1, ENDS[severity - 1], 0.01).tolist()
    total = images.copy()
    for factor in factors:
        total += enlarge(images, factor)
    return total / (len(factors) + 1)
