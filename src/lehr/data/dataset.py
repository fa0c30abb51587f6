"""`Dataset`: inputs and targets as tensors, split into training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import require

SPLIT_SEED = 0  # the validation split is the same for every run, whatever its seed

Task = Literal["image-classification", "text-classification", "language-modelling"]


class Examples(Protocol):
    """A list of examples of one kind."""

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Split:
        """The examples at these positions, int64 of shape (n,)."""
        ...

    def first(self, count: int) -> Examples:
        """The first so many, or all where there are fewer."""
        ...

    def shifted(self, stream: Stream) -> Examples:
        """The same examples as an epoch sees them: cut anew, where they are cut out of something longer."""
        ...


@dataclass(frozen=True)
class Split:
    """Inputs of shape (N, ...) and targets, int64 of shape (N,) or (N, length).

    Images are uint8 of shape (N, channels, height, width), texts are tokens, int64 of shape (N, length).

    Raises:
        LehrError: there are more of one than of the other.

    >>> split = Split(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.arange(3))
    >>> len(split.first(2)), split.take(torch.tensor([2, 0])).targets.tolist()
    (2, [2, 0])
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        require(len(self.inputs) == len(self.targets), f"{len(self.inputs)} inputs have {len(self.targets)} targets")

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Tensor) -> Split:
        """The examples at these positions."""
        return Split(self.inputs[index], self.targets[index])

    def first(self, count: int) -> Split:
        """The first so many, or all where there are fewer; no copy."""
        return Split(self.inputs[:count], self.targets[:count])

    def shifted(self, stream: Stream) -> Split:
        """The same: whole examples cannot be cut otherwise."""
        return self


@dataclass(frozen=True)
class Windows:
    """A long text as examples: windows of `length` tokens, their targets the tokens one further on.

    >>> two = Windows(torch.arange(7), 3)
    >>> len(two), two.take(torch.tensor([0])).inputs.tolist(), two.take(torch.tensor([0])).targets.tolist()
    (1, [[0, 1, 2]], [[1, 2, 3]])
    """

    tokens: Tensor  # 1-d
    length: int
    start: int = 0

    def __post_init__(self) -> None:
        require(
            len(self.tokens) >= 2 * self.length,
            f"a text of {len(self.tokens)} tokens is too short for windows of {self.length}: give a longer one",
        )

    def __len__(self) -> int:
        # The same number from every start below `length`, so that epochs are of one length.
        return (len(self.tokens) - self.length) // self.length

    def take(self, index: Tensor) -> Split:
        """The windows at these positions."""
        places = self.start + index[:, None] * self.length + torch.arange(self.length + 1)
        cut = self.tokens[places].long()
        return Split(cut[:, :-1].contiguous(), cut[:, 1:].contiguous())

    def shifted(self, stream: Stream) -> Windows:
        """Windows from another start, so that every epoch cuts the text elsewhere."""
        return Windows(self.tokens, self.length, int(stream.bits(0, 1)[0]) % self.length)

    def first(self, count: int) -> Windows:
        """The first so many windows."""
        return Windows(self.tokens[: (count + 1) * self.length], self.length)


class Preparation(Protocol):
    """What is done to inputs before the network sees them."""

    def training(self, inputs: Tensor, stream: Stream, start: int) -> Tensor:
        """For a training pass; `start` is the position of the first example in its batch."""
        ...

    def judged(self, inputs: Tensor) -> Tensor:
        """For evaluation."""
        ...


@dataclass(frozen=True)
class Dataset:
    """A data set ready to train on.

    `prepare` turns raw inputs into what the network takes; `input_shape` is that of one example and
    `vocabulary` the number of different tokens, for texts.

    >>> from lehr.data import load
    >>> digits = load("digits")
    >>> digits.sizes, digits.blank(2).shape
    ({'num_classes': 10, 'input_shape': (1, 8, 8)}, torch.Size([2, 1, 8, 8]))
    """

    name: str
    task: Task
    train: Split | Windows
    validation: Split | Windows
    test: Split | Windows
    num_classes: int
    input_shape: tuple[int, ...]
    prepare: Preparation
    vocabulary: int | None = None

    def blank(self, count: int) -> Tensor:
        """So many inputs as the network takes them, all zero."""
        return torch.zeros(count, *self.input_shape, dtype=torch.float32 if self.vocabulary is None else torch.int64)

    @property
    def sizes(self) -> dict[str, object]:
        """What a network must know of the data, by the names that factories use."""
        text = {} if self.vocabulary is None else {"vocabulary": self.vocabulary, "context": self.input_shape[0]}
        return {"num_classes": self.num_classes, "input_shape": self.input_shape, **text}


def hold_out(train: Split, count: int, name: str) -> tuple[Split, Split]:
    """Split off `count` validation examples, the same ones each time.

    >>> data = Split(torch.zeros(10, 1, 1, 1, dtype=torch.uint8), torch.arange(10))
    >>> left, held = hold_out(data, 3, "doc")
    >>> len(left), sorted(left.targets.tolist() + held.targets.tolist()) == list(range(10))
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
