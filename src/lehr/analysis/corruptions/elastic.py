"""Elastic deformation: a random affine map, then random local displacements."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lehr.analysis.corruptions.contract import corruption
from lehr.analysis.corruptions.draws import Array, Draws
from lehr.analysis.corruptions.filters import gaussian

ELASTIC = (  # height and smoothness of the displacements, reach of the affine map; pixels (of 32)
    (0.00, 0.00, 2.56),
    (1.60, 6.40, 2.24),
    (2.56, 1.92, 1.92),
    (3.20, 1.28, 1.60),
    (3.20, 0.96, 0.96),
)
SUBPIXELS = 32  # OpenCV's warpAffine rounds coordinates to 1/32 of a pixel


def sample(images: Array, rows: Array, columns: Array, mirror_edge: bool) -> Array:
    """Read images (N, H, W, C) at places (N, H, W) between pixels, with straight lines between neighbours.

    Outside, the image is mirrored: with `mirror_edge` the edge pixel is repeated (cba|abc), without it not (cb|abc).

    >>> line = np.array([0.0, 1.0, 4.0]).reshape(1, 1, 3, 1)
    >>> sample(line, np.zeros((1, 1, 3)), np.array([[[-1.0, 0.5, 2.5]]]), True).ravel().tolist()
    [0.0, 0.5, 4.0]
    """
    height, width = images.shape[1:3]
    image = np.arange(len(images))[:, None, None]
    top, left = np.floor(rows), np.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    above, below = (_mirrored(top + i, height, mirror_edge) for i in (0, 1))
    before, after = (_mirrored(left + i, width, mirror_edge) for i in (0, 1))
    upper = images[image, above, before] * (1 - right) + images[image, above, after] * right
    lower = images[image, below, before] * (1 - right) + images[image, below, after] * right
    read: Array = upper * (1 - down) + lower * down
    return read


def _mirrored(place: Array, length: int, mirror_edge: bool) -> npt.NDArray[np.intp]:
    period = 2 * length if mirror_edge else 2 * length - 2
    index = place.astype(np.intp) % period
    return np.minimum(index, period - mirror_edge - index)


def affine_back(corners: Array, moved: Array) -> Array:
    """The map that takes three moved points back to where they were: (N, 2, 3) with ``corner = A [moved, 1]``.

    Points are (x, y): `corners` (3, 2), `moved` (N, 3, 2). By Cramer's rule.

    >>> corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> affine_back(corners, corners[None] + 2.0).tolist()
    [[[1.0, 0.0, -2.0], [0.0, 1.0, -2.0]]]
    """
    origin = moved[:, 0]
    (ux, uy), (vx, vy) = (moved[:, 1] - origin).T, (moved[:, 2] - origin).T
    first, second = corners[1] - corners[0], corners[2] - corners[0]
    scale = 1 / (ux * vy - uy * vx)
    rows = []
    for axis in (0, 1):
        x = (first[axis] * vy - second[axis] * uy) * scale
        y = (second[axis] * ux - first[axis] * vx) * scale
        rows.append(np.stack([x, y, corners[0, axis] - x * origin[:, 0] - y * origin[:, 1]], axis=1))
    return np.stack(rows, axis=1)


@corruption
def elastic_transform(images: Array, severity: int, draws: Draws) -> Array:
    """A random affine map, then displacements ``a blur(U(-1, 1))`` of every pixel. Simard et al. 2003; arXiv:1903.12261.

    Affine: three points 10 pixels (a third of the side) from the middle each move by U(-r, r) both ways, r = 2.56 … 0.96
    pixels; places are rounded to 1/32 of a pixel, and the edge pixel is a mirror. Displacements: Gaussian blur cut off at
    3 sigma. Sizes in pixels are those for 32x32, whatever the size.

    >>> grey = np.full((1, 16, 16, 3), 0.5)
    >>> bool(np.allclose(elastic_transform(grey, 5, Draws(0, "elastic_transform", 5, 0, 1)), 0.5))
    True
    """
    height, sigma, reach = ELASTIC[severity - 1]
    shape = images.shape[1:3]
    middle, arm = np.array([shape[1] // 2, shape[0] // 2], np.float64), min(shape) // 3
    corners = middle + arm * np.array([[1, 1], [1, -1], [-1, -1]])
    back = affine_back(corners, corners + draws.uniform(-reach, reach, 3, 2))
    y, x = (grid.astype(np.float64) for grid in np.indices(shape))
    columns, rows = (a[:, :1, None] * x + a[:, 1:2, None] * y + a[:, 2:, None] for a in (back[:, 0], back[:, 1]))
    columns, rows = (np.floor(place * SUBPIXELS + 0.5) / SUBPIXELS for place in (columns, rows))
    images = sample(images, rows, columns, mirror_edge=False)
    if height == 0:
        return images
    shifts = (gaussian(draws.uniform(-1, 1, *shape, part=p), sigma, border="symmetric", truncate=3) for p in (1, 2))
    right, down = (height * shift for shift in shifts)
    return sample(images, y + down, x + right, mirror_edge=True)
