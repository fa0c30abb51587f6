"""Which weights take part: 0/1 draws that are a pure function of (seed, step, name, index).

A draw names its `Stream` and the position of its first weight, so a shard of a parameter draws
what the whole would, a resumed run draws what the first would have, and ranks agree without talking.
Sixteen bits a weight: a probability is rounded to the nearest 1/65536.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from lehr.base import philox

LEVELS = 1 << 16


class Purpose(IntEnum):
    """What a stream of numbers is for, so that no two uses share numbers."""

    MASK = 0  # the draw of a training pass
    INITIAL = 1  # P_0 of random annealing
    SCORE = 2  # random importance
    TIE = 3  # the order among equal scores
    SHUFFLE = 4  # the order of the data
    AUGMENT = 5  # crops and flips
    CORRUPT = 6  # corrupted copies of images
    GROW = 7  # which weights sparse evolutionary training takes in
    CONTROL = 8  # masks to be compared with
    SAMPLE = 10  # networks around a mean
    PARTITION = 9  # which part of a divided network a weight is in


@dataclass(frozen=True)
class Stream:
    """An addressable stream of 16-bit numbers: one per (seed, name, purpose, step, turn).

    `step` is the optimizer step; `turn` counts training passes within it (gradient accumulation);
    `rank` is 0 everywhere unless ranks are asked to differ.

    >>> a = Stream(seed=1, name="w", purpose=Purpose.MASK)
    >>> bool((a.bits(0, 8)[4:] == a.bits(4, 4)).all())
    True
    """

    seed: int
    name: str
    purpose: Purpose
    step: int = 0
    turn: int = 0
    rank: int = 0

    @property
    def address(self) -> tuple[philox.Key, philox.Counter]:
        """The key and the counter that the generator knows it by."""
        low = self.purpose | self.rank << 8
        return philox.key(self.seed, self.name), (self.step, self.turn, low)

    def bits(self, start: int, count: int) -> np.ndarray:
        """Numbers `start` to `start + count`, as uint16."""
        return philox.bits16(*self.address, start, count)

    def uniform(self, start: int, count: int) -> Tensor:
        """Float32 numbers in (0, 1), the middles of 65,536 equal intervals."""
        return torch.from_numpy(self.bits(start, count).astype(np.float32)).add_(0.5).div_(LEVELS)

    def bernoulli(self, start: int, probability: float | Tensor, count: int | None = None) -> Tensor:
        """Bool draws, 1-d: element i is ``bits[i] < round(65536 p)``, so p = 0 is never and p = 1 always.

        `probability` is one float with `count`, or a 1-d tensor with one entry for each draw; the
        draws lie on the tensor's device.

        >>> Stream(0, "w", Purpose.MASK).bernoulli(0, 1.0, 3).tolist()
        [True, True, True]
        """
        if isinstance(probability, Tensor):
            bits = self.bits(start, probability.numel())
            levels = (probability.detach().cpu() * LEVELS + 0.5).to(torch.int32).numpy()
            return torch.from_numpy(bits < levels).to(probability.device)
        assert count is not None, "a single probability needs a count"
        level = int(probability * LEVELS + 0.5)
        if level <= 0 or level >= LEVELS:
            return torch.full((count,), level >= LEVELS)
        return torch.from_numpy(self.bits(start, count) < np.uint16(level))
