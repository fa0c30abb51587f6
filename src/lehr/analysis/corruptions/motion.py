"""Motion blur, as ImageMagick defines it."""

from __future__ import annotations

import math

import numpy as np

from lehr.analysis.corruptions.contract import corruption
from lehr.analysis.corruptions.draws import Array, Draws
from lehr.analysis.corruptions.filters import padded

MOTION = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))  # radius, sigma, in pixels


def smear(images: Array, radius: int, sigma: float, degrees: Array) -> Array:
    """Blur image n one way along the angle ``degrees[n]``, in levels of 1/255.

    ``out[h, w] = sum over i of k_i in[h + y_i, w + x_i]`` with i = 0 … 2 radius, ``k_i ~ exp(-i^2 / (2 sigma^2))`` of sum
    1, and ``(x_i, y_i) = (ceil(i cos a - 1/2), ceil(i sin a - 1/2))``; the edge goes on outside; the result is rounded.
    This is ImageMagick's MotionBlurImage (its kernel has 2 ceil(radius) + 1 taps, all on one side). Angle 0 looks
    right, 90 down. Images are (N, H, W) or (N, H, W, C).

    >>> line = np.array([[[0.0, 0.0, 0.0, 1.0, 0.0]]])
    >>> (255 * smear(line, 1, 1.0, np.zeros(1))).round().tolist()
    [[[0.0, 20.0, 89.0, 146.0, 0.0]]]
    """
    taps = 2 * radius + 1
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(taps)]
    total = sum(weights)
    height, width = images.shape[1:3]
    wide = padded(images, taps, taps, "edge")
    result = np.zeros(images.shape)
    for blurred, image, angle in zip(result, wide, map(math.radians, degrees.tolist()), strict=True):
        for i, weight in enumerate(weights):
            y = taps + math.ceil(i * math.sin(angle) - 0.5)
            x = taps + math.ceil(i * math.cos(angle) - 0.5)
            blurred += (weight / total) * image[y : y + height, x : x + width]
    return np.rint(result * 255) / 255


@corruption
def motion_blur(images: Array, severity: int, draws: Draws) -> Array:
    """`smear` along an angle drawn evenly from -45 to 45 degrees, one for each image. arXiv:1903.12261.

    >>> grey = np.full((1, 16, 16, 3), 0.2)
    >>> bool(np.allclose(motion_blur(grey, 5, Draws(0, "motion_blur", 5, 0, 1)), 0.2))
    True
    """
    return smear(images, *MOTION[severity - 1], draws.uniform(-45, 45))
