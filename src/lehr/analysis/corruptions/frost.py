"""Frost: a texture of our own instead of the published photographs."""

from __future__ import annotations

import numpy as np

from lehr.analysis.corruptions.contract import corruption
from lehr.analysis.corruptions.draws import Array, Draws
from lehr.analysis.corruptions.plasma import plasma

FROST = ((1.0, 0.20), (1.0, 0.30), (0.9, 0.40), (0.85, 0.40), (0.75, 0.45))  # share of the image, share of frost
NEEDLES = 24  # for 32x32 pixels; in proportion to the area
LENGTH = (4.0, 16.0)  # pixels
THICKNESS = (0.5, 1.6)  # pixels from the middle of a needle to where it ends
GLASS = np.array([70, 90, 115]) / 255  # bare glass: dark, bluish
ICE = np.array([235, 243, 255]) / 255
DECAY = 1.8  # of the clouds


def needles(height: int, width: int, draws: Draws) -> Array:
    """Ice needles: straight, bright at the root and dim at the tip; (N, height, width) in [0, 1].

    A needle from a, along the unit vector e, of length l and half-thickness w shines by ``(1 - r / l) (1 - d / w)`` at a
    point whose place along it is r in [0, l] and whose distance from it is d < w; the brightest needle counts.

    >>> lines = needles(16, 16, Draws(0, "doc", 1, 0, 2))
    >>> lines.shape, bool((lines >= 0).all() and (lines <= 1).all())
    ((2, 16, 16), True)
    """
    number = max(1, round(NEEDLES * height * width / 1024))
    place = draws.uniform(0, 1, number, 4, part=1)
    way = draws.normal(number, 2, part=2)
    way /= np.sqrt((way * way).sum(axis=2, keepdims=True))
    y, x = (grid.astype(np.float64) for grid in np.indices((height, width)))
    result = np.zeros((draws.count, height, width))
    for k in range(number):
        root_y, root_x, length, thickness, along_y, along_x = (
            column[:, None, None]
            for column in (
                place[:, k, 0] * height,
                place[:, k, 1] * width,
                LENGTH[0] + (LENGTH[1] - LENGTH[0]) * place[:, k, 2],
                THICKNESS[0] + (THICKNESS[1] - THICKNESS[0]) * place[:, k, 3],
                way[:, k, 0],
                way[:, k, 1],
            )
        )
        down, right = y - root_y, x - root_x
        reach = down * along_y + right * along_x
        aside = np.abs(down * along_x - right * along_y)
        shine = np.clip(1 - reach / length, 0, 1) * np.clip(1 - aside / thickness, 0, 1)
        np.maximum(result, np.where(reach < 0, 0.0, shine), out=result)
    return result


def frost_texture(height: int, width: int, draws: Draws) -> Array:
    """Bluish white frost on dark glass, (N, height, width, 3): plasma clouds and needles, from the numbers alone.

    ``glass + (ice - glass) min(1, 0.75 clouds + 0.75 needles)``.

    >>> frost_texture(16, 16, Draws(0, "doc", 1, 0, 2)).shape
    (2, 16, 16, 3)
    """
    ice = np.minimum(1.0, 0.75 * plasma(height, width, DECAY, draws) + 0.75 * needles(height, width, draws))
    return GLASS + (ICE - GLASS) * ice[..., None]


@corruption
def frost(images: Array, severity: int, draws: Draws) -> Array:
    """``a x + b frost`` with the published a and b, but frost of our own making. After arXiv:1903.12261.

    The original cuts its frost out of photographs that we do not have; see `frost_texture`. So numbers for frost,
    and means over corruptions that include it, are not comparable with published ones.

    >>> black = np.zeros((1, 32, 32, 3))
    >>> bool(frost(black, 5, Draws(0, "frost", 5, 0, 1)).max() <= 0.45)
    True
    """
    share, ice = FROST[severity - 1]
    _, height, width, _ = images.shape
    return share * images + ice * frost_texture(height, width, draws)
