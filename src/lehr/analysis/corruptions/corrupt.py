"""`corrupt`: images as a data set has them, corrupted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lehr.analysis.corruptions.contract import check_severity, check_size
from lehr.analysis.corruptions.draws import Draws
from lehr.analysis.corruptions.registry import corruptions
from lehr.base.errors import require

CHUNK = 256  # images at a time: what they need stays near the processor


def corrupt(images: Tensor, name: str, severity: int, *, seed: int = 0, start: int = 0) -> Tensor:
    """Corrupted copies of uint8 images (N, C, H, W), the same shape, type and device; C is 3, or 1 for grey.

    ``floor(255 c(x / 255))`` with c the corruption, rounding down as the published program does. Image i is a pure function
    of (seed, name, severity, start + i, image i), so any way of batching gives the same bits, if `start` counts the images
    before the batch. Grey images are repeated to three channels, of which the rounded mean is given back. Sizes in pixels
    are those published for 32x32, whatever the size. Hendrycks & Dietterich 2019, arXiv:1903.12261.

    Args:
        images: raw pixel values, as `lehr.data.Split` has them.
        name: one of `lehr.analysis.corruptions.corruptions`.
        severity: 1 (mild) to 5 (strong).
        seed: of the random numbers.
        start: position of the first image in its data set.

    Raises:
        LehrError: the name is unknown, the severity is not 1 to 5, `start` is negative, or the images are not uint8 of
            shape (N, 1 or 3, H, W) with sides of at least 16.

    >>> images = torch.full((2, 3, 32, 32), 100, dtype=torch.uint8)
    >>> corrupt(images, "brightness", 2)[0, :, 0, 0].tolist()
    [125, 125, 125]
    >>> corrupt(images, "fog", 3)[1:].equal(corrupt(images[1:], "fog", 3, start=1))
    True
    """
    apply = corruptions[name]
    check_severity(severity)
    require(start >= 0, f"start is {start}: give the position of the first image, 0 or more")
    require(images.dtype == torch.uint8, f"the images are {images.dtype}: give raw pixel values as torch.uint8")
    fits = images.ndim == 4 and images.shape[1] in (1, 3)
    require(fits, f"the images have shape {tuple(images.shape)}: give (N, 1 or 3, height, width)")
    check_size(*images.shape[2:])
    result = torch.empty_like(images)
    for first in range(0, len(images), CHUNK):
        chunk = images[first : first + CHUNK].permute(0, 2, 3, 1).expand(-1, -1, -1, 3).cpu().numpy()
        draws = Draws(seed, name, severity, start + first, len(chunk))
        levels = np.floor(apply(chunk / 255.0, severity, draws) * 255).astype(np.uint8)
        if images.shape[1] == 1:
            levels = ((levels.sum(axis=3, keepdims=True, dtype=np.uint16) + 1) // 3).astype(np.uint8)
        result[first : first + CHUNK] = torch.from_numpy(levels).permute(0, 3, 1, 2).to(images.device)
    return result
