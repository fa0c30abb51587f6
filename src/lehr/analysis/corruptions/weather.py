"""Weather: snow and fog (frost and spatter have files of their own)."""

from __future__ import annotations

import numpy as np

from lehr.analysis.corruptions.contract import corruption
from lehr.analysis.corruptions.draws import Array, Draws
from lehr.analysis.corruptions.motion import smear
from lehr.analysis.corruptions.plasma import plasma
from lehr.analysis.corruptions.zoom import enlarge

SNOW = (  # mean, deviation, zoom, threshold, radius, sigma of the smear, share of the image itself
    (0.10, 0.2, 1.00, 0.60, 8, 3, 0.95),
    (0.10, 0.2, 1.00, 0.50, 10, 4, 0.90),
    (0.15, 0.3, 1.75, 0.55, 10, 4, 0.90),
    (0.25, 0.3, 2.25, 0.60, 12, 6, 0.85),
    (0.30, 0.3, 1.25, 0.65, 14, 12, 0.80),
)
FOG = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))  # strength, decay of the clouds
LUMA = (0.299, 0.587, 0.114)


def luma(images: Array) -> Array:
    """Brightness ``0.299 R + 0.587 G + 0.114 B``: (N, H, W, 3) to (N, H, W).

    >>> luma(np.array([[[[1.0, 0.0, 0.0]]]])).tolist()
    [[[0.299]]]
    """
    return LUMA[0] * images[..., 0] + LUMA[1] * images[..., 1] + LUMA[2] * images[..., 2]


@corruption
def snow(images: Array, severity: int, draws: Draws) -> Array:
    """Flakes that fall both ways over a whitened image. arXiv:1903.12261.

    Flakes: normal noise, enlarged, 0 below a threshold, rounded down to levels of 1/255, smeared along an angle of -135 to
    -45 degrees. The result is ``a x + (1 - a) max(x, 1.5 luma(x) + 0.5) + flakes + flakes turned by 180 degrees``.

    >>> grey = np.full((1, 32, 32, 3), 0.3)
    >>> bool(snow(grey, 1, Draws(0, "snow", 1, 0, 1)).mean() > 0.3)
    True
    """
    mean, deviation, factor, threshold, radius, sigma, share = SNOW[severity - 1]
    flakes = enlarge(mean + deviation * draws.normal(*images.shape[1:3]), factor)
    flakes = np.where(flakes < threshold, 0.0, np.floor(np.clip(flakes, 0, 1) * 255) / 255)
    flakes = smear(flakes, radius, sigma, draws.uniform(-135, -45, part=1))
    white = np.maximum(images, 1.5 * luma(images)[..., None] + 0.5)
    return share * images + (1 - share) * white + (flakes + flakes[:, ::-1, ::-1])[..., None]


@corruption
def fog(images: Array, severity: int, draws: Draws) -> Array:
    """Clouds over the image, dimmed to its own maximum: ``(x + c clouds) max(x) / (max(x) + c)``. arXiv:1903.12261.

    >>> black = np.zeros((1, 32, 32, 3))
    >>> float(fog(black, 5, Draws(0, "fog", 5, 0, 1)).max())
    0.0
    """
    strength, decay = FOG[severity - 1]
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    _, height, width, _ = images.shape
    clouds = plasma(height, width, decay, draws)[..., None]
    foggy: Array = (images + strength * clouds) * brightest / (brightest + strength)
    return foggy
