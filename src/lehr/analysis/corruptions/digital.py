"""What computers do to images: JPEG and large pixels, both by Pillow, in levels of 1/255."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from lehr.analysis.corruptions.contract import corruption
from lehr.analysis.corruptions.draws import Array, Draws

JPEG = (80, 65, 58, 50, 40)  # quality
PIXELATE = (0.95, 0.90, 0.85, 0.75, 0.65)  # part of the side that is left


def through_pillow(images: Array, change: Callable[[Image.Image], Image.Image]) -> Array:
    """What Pillow makes of each image, rounded to 8 bits first.

    >>> through_pillow(np.full((1, 2, 2, 3), 0.2), lambda image: image.rotate(90))[0, 0, 0].tolist()
    [0.2, 0.2, 0.2]
    """
    result = np.empty(images.shape)
    for changed, image in zip(result, np.rint(images * 255).astype(np.uint8), strict=True):
        changed[...] = np.asarray(change(Image.fromarray(image)))
    return result / 255


@corruption
def jpeg_compression(images: Array, severity: int, draws: Draws) -> Array:
    """Saved as JPEG with quality 80 … 40 and read back. arXiv:1903.12261.

    >>> grey = np.full((1, 16, 16, 3), 0.2)
    >>> bool(np.allclose(jpeg_compression(grey, 5, Draws(0, "jpeg_compression", 5, 0, 1)), 0.2, atol=0.02))
    True
    """

    def saved_and_read(image: Image.Image) -> Image.Image:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=JPEG[severity - 1])
        return Image.open(buffer)

    return through_pillow(images, saved_and_read)


@corruption
def pixelate(images: Array, severity: int, draws: Draws) -> Array:
    """Shrunk to 0.95 … 0.65 of the side and enlarged again, each pixel the mean of the area it covers. arXiv:1903.12261.

    >>> grey = np.full((1, 16, 16, 3), 0.2)
    >>> bool(np.allclose(pixelate(grey, 5, Draws(0, "pixelate", 5, 0, 1)), 0.2))
    True
    """
    part = PIXELATE[severity - 1]
    height, width = images.shape[1:3]
    small, box = (int(width * part), int(height * part)), Image.Resampling.BOX
    return through_pillow(images, lambda image: image.resize(small, box).resize((width, height), box))
