"""`Draws`: the random numbers of a batch, each image's own, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lehr.base.draws import Purpose, Stream

Array = npt.NDArray[np.float64]
KEY = 8  # 16-bit numbers in the 128-bit key of one image's generator


@dataclass(frozen=True)
class Draws:
    """Random numbers for images ``start`` to ``start + count`` of one corruption at one severity.

    Image i has a NumPy generator of its own (Philox), whose key is numbers ``8 i`` to ``8 i + 8`` of the stream named
    ``<name>/<severity>`` at ``part``. So its numbers are a pure function of (seed, name, severity, i, part) and of
    the shape asked for. `part` tells apart the uses within one corruption; a use asked for twice gives the same numbers.

    >>> both = Draws(seed=0, name="fog", severity=3, start=0, count=2)
    >>> second = Draws(seed=0, name="fog", severity=3, start=1, count=1)
    >>> bool((both.normal(4)[1:] == second.normal(4)).all())
    True
    """

    seed: int
    name: str
    severity: int
    start: int
    count: int

    def _generators(self, part: int) -> Iterator[np.random.Generator]:
        stream = Stream(self.seed, f"{self.name}/{self.severity}", Purpose.CORRUPT, turn=part)
        keys = stream.bits(KEY * self.start, KEY * self.count).view("<u8").reshape(-1, 2)
        return (np.random.Generator(np.random.Philox(key=key)) for key in keys)

    def _filled(self, images: Iterator[Array], shape: tuple[int, ...]) -> Array:
        result = np.empty((self.count, *shape))
        for row, image in enumerate(images):
            result[row] = image
        return result

    def normal(self, *shape: int, part: int = 0) -> Array:
        """Standard normal numbers, float64 of shape (count, \\*shape)."""
        return self._filled((np.asarray(g.standard_normal(shape)) for g in self._generators(part)), shape)

    def uniform(self, low: float, high: float, *shape: int, part: int = 0) -> Array:
        """Numbers in [low, high), float64 of shape (count, \\*shape)."""
        return self._filled((np.asarray(g.uniform(low, high, shape)) for g in self._generators(part)), shape)

    def poisson(self, rates: Array, part: int = 0) -> Array:
        """Poisson counts with these rates, of shape (count, ...), as float64 of the same shape."""
        pairs = zip(self._generators(part), rates, strict=True)
        return self._filled((g.poisson(rate).astype(np.float64) for g, rate in pairs), rates.shape[1:])
