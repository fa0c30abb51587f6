"""Spatter: drops of water or mud on the lens."""

from __future__ import annotations

import numpy as np

from lehr.analysis.corruptions.contract import corruption
from lehr.analysis.corruptions.draws import Array, Draws
from lehr.analysis.corruptions.edges import UNIT, box, canny, distance, equalised
from lehr.analysis.corruptions.filters import correlate, gaussian

SPATTER = (  # mean, deviation and smoothness of the liquid, threshold, strength of water or smoothness of mud
    (0.62, 0.1, 0.7, 0.70, 0.5),
    (0.65, 0.1, 0.8, 0.70, 0.5),
    (0.65, 0.3, 1.0, 0.69, 0.5),
    (0.65, 0.1, 0.7, 0.69, 0.6),
    (0.65, 0.1, 0.5, 0.68, 0.6),
)
WATER_UPTO = 3  # severities 4 and 5 are mud
WATER = np.array([175, 238, 238]) / 255  # pale turquoise
MUD = np.array([63, 42, 20]) / 255
MUD_EDGE = 0.8  # thinner mud is none
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
FARTHEST = 20  # pixels from an edge


def water(liquid: Array) -> Array:
    """How bright drops shine, in [0, 1], from the liquid, whole levels 0 … 255; (N, H, W).

    The distance to the edges of drops (Canny 50, 150) is averaged over 3x3, rounded down, levelled, embossed and
    averaged again; times the liquid; divided by its maximum. Without liquid all is 0.

    >>> float(water(np.zeros((1, 16, 16))).max())
    0.0
    """
    far = distance(canny(liquid, 50, 150), FARTHEST)
    levelled = equalised(box(far) // (9 * UNIT))
    embossed = np.clip(correlate(levelled, EMBOSS, "reflect"), 0, 255)
    shine = liquid * np.rint(box(embossed) / 9)
    brightest = shine.max(axis=(1, 2), keepdims=True)
    return shine / np.where(brightest == 0, 1.0, brightest)


@corruption
def spatter(images: Array, severity: int, draws: Draws) -> Array:
    """Water that shines (severity 1 to 3) or mud that covers (4 and 5). Hendrycks & Dietterich 2019, arXiv:1903.12261.

    Liquid: normal noise, blurred, 0 below a threshold t. Water: ``x + 0.5 water(floor(255 liquid)) (175, 238, 238) / 255``.
    Mud: m = blur(liquid > t), 0 below 0.8, and ``x (1 - m) + m (63, 42, 20) / 255``.

    >>> white = np.ones((1, 32, 32, 3))
    >>> bool(spatter(white, 5, Draws(0, "spatter", 5, 0, 1)).mean() < 1)
    True
    """
    mean, deviation, smoothness, threshold, amount = SPATTER[severity - 1]
    liquid = gaussian(mean + deviation * draws.normal(*images.shape[1:3]), smoothness)
    liquid[liquid < threshold] = 0
    if severity <= WATER_UPTO:
        shine = water(np.floor(np.minimum(liquid, 1) * 255))
        return images + amount * shine[..., None] * WATER
    mud = gaussian((liquid > threshold).astype(np.float64), amount)
    mud = np.where(mud < MUD_EDGE, 0.0, mud)[..., None]
    return images * (1 - mud) + mud * MUD
