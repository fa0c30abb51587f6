"""Images: decoded once into bytes, normalised by channel, cropped and flipped for training."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lehr.base.draws import Stream
from lehr.base.errors import LehrError

PADDING = 4  # pixels, as in He et al. 2015


@dataclass(frozen=True)
class Pixels:
    """Normalises, and for training crops and flips where `augment` says so.

    `mean` and `std` have one number for each channel, in units of the raw pixel values.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: bool

    def training(self, inputs: Tensor, stream: Stream, start: int) -> Tensor:
        """Float32 images from bytes of shape (N, C, H, W)."""
        return self.judged(crop_and_flip(inputs, stream, start) if self.augment else inputs)

    def judged(self, inputs: Tensor) -> Tensor:
        """``(x - mean) / std`` for each channel, float32."""
        mean = torch.tensor(self.mean).reshape(-1, 1, 1)
        scale = 1.0 / torch.tensor(self.std).reshape(-1, 1, 1)
        return inputs.float().sub_(mean).mul_(scale)


def crop_and_flip(images: Tensor, stream: Stream, start: int = 0) -> Tensor:
    """A random window of each zero-padded image, of its own size, mirrored with chance 1/2: one gather.

    `images` (N, C, H, W); image i uses numbers ``3 (start + i)`` and on of the stream.

    >>> from lehr.base.draws import Purpose
    >>> x = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    >>> crop_and_flip(x, Stream(0, "doc", Purpose.AUGMENT)).shape
    torch.Size([1, 1, 4, 4])
    """
    count, _, height, width = images.shape
    bits = torch.from_numpy(stream.bits(3 * start, 3 * count).astype("int64")).reshape(count, 3)
    places = 2 * PADDING + 1
    top, left = bits[:, 0] * places >> 16, bits[:, 1] * places >> 16
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    columns = torch.where(bits[:, 2:] < 1 << 15, columns, columns.flip(1))
    padded = torch.nn.functional.pad(images, (PADDING, PADDING, PADDING, PADDING))
    example = torch.arange(count)[:, None, None]
    # Channels last in the gather: neighbouring bytes are copied together.
    return padded.permute(0, 2, 3, 1)[example, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all images and pixels, in float64.

    >>> statistics(torch.tensor([[[[0, 2]]]], dtype=torch.uint8))
    ((1.0,), (1.0,))
    """
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = torch.bincount(images[:, channel].reshape(-1), minlength=256).double()
        values = torch.arange(len(counts), dtype=torch.float64)
        mean = (counts * values).sum() / counts.sum()
        variance = (counts * (values - mean) ** 2).sum() / counts.sum()
        means.append(float(mean))
        deviations.append(max(float(variance.sqrt()), 1e-6))
    return tuple(means), tuple(deviations)


def decode(cells: list[dict[str, Any]], mode: str | None, size: int | None, name: str) -> Tensor:
    """Encoded images as bytes of shape (N, C, H, W).

    Args:
        cells: as Hugging Face `datasets` gives them undecoded: ``{"bytes": ..., "path": ...}``.
        mode: Pillow's: ``L`` is grey, ``RGB`` colour; None for grey where all are grey, else colour.
        size: the shorter side is scaled to so many pixels and the middle square cut out; None to leave
            images as they are, which must then have one size.
        name: of the data set, for the error.
    """
    if not cells:
        raise LehrError(f"{name} has a part without images: give a data set with examples")
    mode = mode or own_mode(cells)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        arrays = list(pool.map(lambda cell: _pixels(cell, mode, size), cells))
    shapes = sorted({a.shape[1::-1] for a in arrays})
    if len(shapes) > 1:
        some = ", ".join(f"{w}x{h}" for w, h in shapes[:3])
        raise LehrError(f"the images of {name} have several sizes ({some}, ...): add --image-size 64, or another side")
    images = torch.from_numpy(np.stack(arrays))
    return (images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)).contiguous()


def own_mode(cells: Iterable[dict[str, Any]]) -> str:
    """Pillow's mode in which encoded images are decoded: ``L`` if all are grey, ``RGB`` otherwise."""
    for cell in cells:
        with _open(cell) as image:
            if image.mode not in ("1", "L"):
                return "RGB"
    return "L"


def _open(cell: dict[str, Any]) -> Any:
    from PIL import Image

    return Image.open(BytesIO(cell["bytes"]) if cell.get("bytes") else cell["path"])


def _pixels(cell: dict[str, Any], mode: str, size: int | None) -> np.ndarray:
    from PIL import Image, ImageOps

    with _open(cell) as image:
        if image.mode[0] in "IF":  # Pillow would clip them to white
            raise LehrError(f"an image has more than 8 bits a channel (mode {image.mode}): convert it to 8 bits first")
        image = image.convert(mode)
        if size is not None and image.size != (size, size):
            image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
        return np.asarray(image)
