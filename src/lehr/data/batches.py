"""Batches, made from tensors in a few operations; order and augmentation are pure functions of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import require
from lehr.data.dataset import Dataset, Examples, shuffled

Batch = tuple[Tensor, Tensor]
# What is judged at a time: numbers of the inputs, or logits, and examples.
IN_CACHE, IN_MEMORY = 200_000, 4_000_000
FEWEST, ON_CPU, ON_GPU = 4, 128, 1000


@dataclass(frozen=True)
class Batches:
    """The training batches of a data set: shuffled anew each epoch, and prepared as it says.

    Every epoch has ``len(batches)`` full batches; what is left over is dropped. With several
    processes each takes its own slice of every batch.

    Args:
        data: whose training examples they are of.
        size: examples in a batch, over all processes.
        seed: of the order, and of what `data` does to its inputs.
        rank, world: which process of how many.

    Raises:
        LehrError: a batch is empty, larger than the data, or does not divide among the processes.

    >>> from lehr.data import load
    >>> batches = Batches(load("digits"), 64, seed=0)
    >>> inputs, targets = next(batches.epoch(0))
    >>> len(batches), inputs.shape, targets.shape
    (19, torch.Size([64, 1, 8, 8]), torch.Size([64]))
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
        """The batches of one epoch from batch `start` on: prepared inputs, and targets (int64)."""
        train = self.data.train.shifted(Stream(self.seed, "shift", Purpose.SHUFFLE, epoch))
        order = shuffled(len(train), Stream(self.seed, "order", Purpose.SHUFFLE, epoch))
        share = self.size // self.world
        for number in range(start, len(self)):
            first = number * self.size + self.rank * share
            part = train.take(order[first : first + share])
            stream = Stream(self.seed, "augment", Purpose.AUGMENT, epoch, number)
            yield self.data.prepare.training(part.inputs, stream, self.rank * share), part.targets


def evaluation_size(data: Dataset) -> int:
    """How many examples are judged at a time: on a CPU few, so that what lies between layers stays in its caches, on a GPU as many as memory likes.

    Measured on a CPU (``benchmarks/judging.py``), CPU time over that of a thousand at a time: ResNet-20 0.53 on images of 32 x 32 pixels and 0.89 on 16 x 16, LeNet-5 0.64, a text encoder 0.68.

    >>> from lehr.data import load
    >>> evaluation_size(load("digits")) in (128, 1000)
    True
    """
    logits = data.num_classes if data.task == "language-modelling" else 1  # at each place of the input
    numbers = max(1, prod(data.input_shape) * logits)
    if torch.cuda.is_available():
        return max(1, min(ON_GPU, IN_MEMORY // numbers))
    return max(1, min(ON_CPU, IN_CACHE // numbers), min(FEWEST, IN_MEMORY // numbers))


def evaluation_batches(examples: Examples, data: Dataset, size: int | None = None) -> Iterator[Batch]:
    """All examples in order, prepared for evaluation; by default `evaluation_size` at a time.

    >>> from lehr.data import load
    >>> digits = load("digits")
    >>> [len(targets) for _, targets in evaluation_batches(digits.test, digits, 200)]
    [200, 160]
    """
    if size is None:
        size = evaluation_size(data)
    for first in range(0, len(examples), size):
        part = examples.take(torch.arange(first, min(first + size, len(examples))))
        yield data.prepare.judged(part.inputs), part.targets
