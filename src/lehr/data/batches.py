"""Batches, made from tensors in a few operations; order and augmentation are pure functions of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import require
from lehr.data.dataset import Dataset, Split, shuffled

Batch = tuple[Tensor, Tensor]
PADDING = 4  # pixels, as in He et al. 2015


@dataclass(frozen=True)
class Batches:
    """The training batches of a data set: shuffled anew each epoch, cropped and flipped where it says so.

    Every epoch has ``len(batches)`` full batches; what is left over is dropped. With several
    processes each takes its own slice of every batch.
    """

    data: Dataset
    size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        require(self.size >= 1, f"the batch size is {self.size}: give at least 1")
        require(
            self.size <= len(self.data.train),
            f"the batch size is {self.size} and {self.data.name} has {len(self.data.train)} training examples: lower it",
        )
        require(self.size % self.world == 0, f"the batch size {self.size} does not divide among {self.world} processes")

    def __len__(self) -> int:
        return len(self.data.train) // self.size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from batch `start` on: float32 images (N, C, H, W), int64 labels (N,)."""
        order = shuffled(len(self.data.train), Stream(self.seed, "order", Purpose.SHUFFLE, epoch))
        share = self.size // self.world
        for number in range(start, len(self)):
            first = number * self.size + self.rank * share
            part = self.data.train.take(order[first : first + share])
            images = part.images
            if self.data.augment:
                stream = Stream(self.seed, "augment", Purpose.AUGMENT, epoch, number)
                images = crop_and_flip(images, stream, self.rank * share)
            yield normalise(images, self.data), part.labels


def crop_and_flip(images: Tensor, stream: Stream, start: int = 0) -> Tensor:
    """A random 32x32 window of each zero-padded image, mirrored with chance 1/2: one gather.

    `images` (N, C, H, W); image i uses numbers ``3 (start + i)`` and on of the stream.

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


def normalise(images: Tensor, data: Dataset) -> Tensor:
    """``(x - mean) / std`` for each channel, float32."""
    mean = torch.tensor(data.mean).reshape(-1, 1, 1)
    scale = 1.0 / torch.tensor(data.std).reshape(-1, 1, 1)
    return images.float().sub_(mean).mul_(scale)


def evaluation_batches(split: Split, data: Dataset, size: int = 1000) -> Iterator[Batch]:
    """All examples in order, normalised as in training."""
    for first in range(0, len(split), size):
        images, labels = split.images[first : first + size], split.labels[first : first + size]
        yield normalise(images, data), labels
