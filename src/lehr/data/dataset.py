"""`Dataset`: images and labels as tensors, split into training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import require

SPLIT_SEED = 0  # the validation split is the same for every run, whatever its seed


@dataclass(frozen=True)
class Split:
    """Images, uint8 of shape (N, channels, height, width), and labels, int64 of shape (N,)."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        require(len(self.images) == len(self.labels), f"{len(self.images)} images have {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Split:
        """The examples at these positions."""
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Dataset:
    """A data set ready to train on.

    `mean` and `std` have one number for each channel, in units of the raw pixel values; `augment`
    says whether training images are cropped (4 pixels of padding) and flipped.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: bool

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width


def hold_out(train: Split, count: int, name: str) -> tuple[Split, Split]:
    """Split off `count` validation examples, the same ones each time.

    >>> data = Split(torch.zeros(10, 1, 1, 1, dtype=torch.uint8), torch.arange(10))
    >>> left, held = hold_out(data, 3, "doc")
    >>> len(left), sorted(left.labels.tolist() + held.labels.tolist()) == list(range(10))
    (7, True)
    """
    order = shuffled(len(train), Stream(SPLIT_SEED, name, Purpose.SHUFFLE))
    return train.take(order[count:].sort().values), train.take(order[:count].sort().values)


def shuffled(count: int, stream: Stream) -> Tensor:
    """A permutation of ``range(count)`` that is a pure function of the stream.

    >>> sorted(shuffled(5, Stream(0, "doc", Purpose.SHUFFLE)).tolist())
    [0, 1, 2, 3, 4]
    """
    keys = torch.from_numpy(stream.bits(0, 4 * count).view("<i8").copy())
    return keys.argsort(stable=True)


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
