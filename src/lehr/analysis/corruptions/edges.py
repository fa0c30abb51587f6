"""Edges, distances and levelled histograms of 8-bit images, as spatter needs them.

Arrays are (N, H, W) of whole numbers held as float64, exact in every sum. The definitions are OpenCV's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lehr.analysis.corruptions.draws import Array
from lehr.analysis.corruptions.filters import correlate, padded

Flags = npt.NDArray[np.bool_]
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
UNIT = 1 << 16  # distances are in 1/65536 of a pixel
STEPS = {(0, 1): UNIT, (1, 1): round(1.4 * UNIT), (1, 2): round(2.1969 * UNIT)}  # Borgefors 1986, 5x5
TAN22 = 13573 / 32768  # tan(22.5 degrees), as OpenCV rounds it


def canny(images: Array, low: float, high: float) -> Flags:
    """Edges by Canny 1986: thin ridges of the gradient above `low` that touch one above `high`.

    The gradient is Sobel's with the edge going on outside; its size is ``|dx| + |dy|``; a ridge is larger than its two
    neighbours across the edge (in one of four directions; of two equal neighbours in a row or column the first counts).

    >>> step = np.zeros((1, 5, 6))
    >>> step[:, :, 3:] = 255
    >>> canny(step, 50, 150)[0, 2].astype(int).tolist()
    [0, 0, 1, 0, 0, 0]
    """
    dx, dy = correlate(images, SOBEL, "edge"), correlate(images, SOBEL.T, "edge")
    across, along = abs(dx), abs(dy)
    size = across + along
    wide = np.pad(size, ((0, 0), (1, 1), (1, 1)))
    height, width = images.shape[1:]

    def beside(down: int, right: int) -> Array:
        return wide[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]

    flat, steep = along < TAN22 * across, along > (TAN22 + 2) * across
    falling = (dx < 0) == (dy < 0)  # the gradient points down right or up left
    sideways = (size > beside(0, -1)) & (size >= beside(0, 1))
    upright = (size > beside(-1, 0)) & (size >= beside(1, 0))
    diagonal = (size > beside(-1, -1)) & (size > beside(1, 1))
    other = (size > beside(-1, 1)) & (size > beside(1, -1))
    ridge = np.where(flat, sideways, np.where(steep, upright, np.where(falling, diagonal, other))) & (size > low)
    return _connected(ridge, ridge & (size > high))


def _connected(candidates: Flags, edges: Flags) -> Flags:
    """Grow the edges through candidates, in eight directions, until nothing changes."""
    while True:
        wide = np.pad(edges, ((0, 0), (1, 1), (1, 1)))
        rows = wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
        grown = candidates & (rows[..., :-2] | rows[..., 1:-1] | rows[..., 2:])
        if (grown == edges).all():
            return edges
        edges = grown


def distance(targets: Flags, most: int) -> Array:
    """Length of the shortest way to a target in steps of a 5x5 mask, at most `most` pixels, in units of 1/65536.

    A step costs 1 (side), 1.4 (diagonal) or 2.1969 (knight's move). Borgefors 1986.

    >>> (distance(np.array([[[True, False, False, False]]]), 2) / UNIT).tolist()
    [[[0.0, 1.0, 2.0, 2.0]]]
    """
    moves = {
        (sy * y, sx * x): c
        for (a, b), c in STEPS.items()
        for y, x in ((a, b), (b, a))
        for sy in (1, -1)
        for sx in (1, -1)
    }
    height, width = targets.shape[1:]
    result = np.where(targets, 0.0, float(most * UNIT))
    while True:
        wide = np.pad(result, ((0, 0), (2, 2), (2, 2)), constant_values=most * UNIT)
        shorter = result
        for (y, x), cost in moves.items():
            shorter = np.minimum(shorter, wide[:, 2 + y : 2 + y + height, 2 + x : 2 + x + width] + cost)
        if (shorter == result).all():
            return result
        result = shorter


def equalised(images: Array) -> Array:
    """Each 8-bit image with its histogram levelled; one of a single level stays as it is.

    Level v becomes ``round(255 (pixels <= v, less those of the lowest level) / (all pixels, less the same))``.

    >>> equalised(np.array([[[3.0, 3.0, 7.0, 9.0]], [[5.0, 5.0, 5.0, 5.0]]])).tolist()
    [[[0.0, 0.0, 128.0, 255.0]], [[5.0, 5.0, 5.0, 5.0]]]
    """
    count, height, width = images.shape
    place = images.astype(np.intp) + 256 * np.arange(count)[:, None, None]
    upto = np.bincount(place.ravel(), minlength=256 * count).reshape(count, 256).cumsum(axis=1)
    first = np.take_along_axis(upto, images.min(axis=(1, 2)).astype(np.intp)[:, None], axis=1)
    rest = height * width - first
    table = np.where(rest == 0, np.arange(256.0), np.rint(255 * (upto - first) / np.maximum(rest, 1)))
    levelled: Array = table.ravel()[place]
    return levelled


def box(images: Array) -> Array:
    """Sum over 3x3 pixels, the edge pixel being a mirror.

    >>> box(np.array([[[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]]])).tolist()
    [[[5.0, 7.0, 8.0], [10.0, 14.0, 16.0]]]
    """
    wide = padded(images, 1, 1, "reflect")
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
