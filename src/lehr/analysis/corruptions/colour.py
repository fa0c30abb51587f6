"""Brightness, contrast and saturation."""

from __future__ import annotations

import numpy as np

from lehr.analysis.corruptions.contract import corruption
from lehr.analysis.corruptions.draws import Array, Draws

BRIGHTNESS = (0.05, 0.10, 0.15, 0.20, 0.30)  # added to the value
CONTRAST = (0.75, 0.50, 0.40, 0.30, 0.15)  # what is left of the distance from the mean
SATURATE = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))  # factor of the saturation, and what is added


def recolour(images: Array, scale: float = 1.0, add: float = 0.0, lift: float = 0.0) -> Array:
    """Change saturation and value in HSV, and keep the hue.

    With value v = max, spread d = max - min and saturation s = d / v of a pixel (0 where v is): ``v' = clip(v + lift)``,
    ``s' = clip(scale s + add)`` and ``x' = v' (1 - s' (v - x) / d)``, which is what the way to HSV and back comes to. A grey
    pixel has the hue of red, as is the custom, so it turns red where ``add > 0``.

    >>> recolour(np.array([[[[0.2, 0.4, 0.3]]]]), lift=0.4).round(3).tolist()
    [[[[0.4, 0.8, 0.6]]]]
    >>> recolour(np.array([[[[0.5, 0.5, 0.5]]]]), add=0.2).round(3).tolist()
    [[[[0.5, 0.4, 0.4]]]]
    """
    value = images.max(axis=-1, keepdims=True)
    spread = value - images.min(axis=-1, keepdims=True)
    grey = spread == 0
    saturation = spread / np.where(value == 0, 1.0, value)
    place = np.where(grey, np.array([0.0, 1.0, 1.0]), (value - images) / np.where(grey, 1.0, spread))
    value = np.clip(value + lift, 0, 1)
    changed: Array = value * (1 - np.clip(scale * saturation + add, 0, 1) * place)
    return changed


@corruption
def brightness(images: Array, severity: int, draws: Draws) -> Array:
    """The value in HSV raised by 0.05 … 0.3, at most to 1. arXiv:1903.12261.

    >>> grey = np.full((1, 16, 16, 3), 0.5)
    >>> float(brightness(grey, 5, Draws(0, "brightness", 5, 0, 1)).mean().round(6))
    0.8
    """
    return recolour(images, lift=BRIGHTNESS[severity - 1])


@corruption
def contrast(images: Array, severity: int, draws: Draws) -> Array:
    """``m + c (x - m)`` with m the mean of each channel over the image, c = 0.75 … 0.15. arXiv:1903.12261.

    >>> halves = np.zeros((1, 16, 16, 3))
    >>> halves[:, :8] = 1
    >>> np.unique(contrast(halves, 2, Draws(0, "contrast", 2, 0, 1))).tolist()
    [0.25, 0.75]
    """
    mean: Array = images.mean(axis=(1, 2), keepdims=True)
    return (images - mean) * CONTRAST[severity - 1] + mean


@corruption
def saturate(images: Array, severity: int, draws: Draws) -> Array:
    """The saturation in HSV times 0.3, 0.1, 1.5, 2, 2.5, plus 0.1 and 0.2 for the last two. arXiv:1903.12261.

    >>> red = np.zeros((1, 16, 16, 3))
    >>> red[..., 0] = 1
    >>> saturate(red, 2, Draws(0, "saturate", 2, 0, 1))[0, 0, 0].round(6).tolist()
    [1.0, 0.9, 0.9]
    """
    scale, add = SATURATE[severity - 1]
    return recolour(images, scale=scale, add=add)
