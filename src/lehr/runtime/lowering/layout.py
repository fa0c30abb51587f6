"""Where the numbers of an activation lie: lanes of samples and patches, lines of them by channel, row and column.

A block of s samples, each cut into a grid of gy x gx patches, fills the lanes: ``s * gy * gx`` is 16 in fp32 and 32 in bf16, so
that a line has 64 bytes. A line holds the same pixel of every patch. Tokens are images of one row, features images of one pixel.

In bf16 lane l < 16 is the low half of the line's word l, and lane 16 + l its high half: one load gives two vectors of sixteen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = 16  # of 32 bits in a line
LANES = {"fp32": WORDS, "bf16": 2 * WORDS}
Table = NDArray[np.int32]


@dataclass(frozen=True)
class Layout:
    """The form of an activation in the arena.

    Args:
        channels, height, width: of one sample.
        samples: in a block.
        grid: patches down and across.
        patch: rows and columns of a patch; the grid may reach beyond the image.
        halo: lines above, left, below and right of a patch, for what is computed from its neighbours.

    >>> Layout(3, 32, 32, 1, (4, 4), (8, 8)).lines
    64
    """

    channels: int
    height: int
    width: int
    samples: int
    grid: tuple[int, int]
    patch: tuple[int, int]
    halo: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def lanes(self) -> int:
        """Numbers in a line."""
        return self.samples * self.grid[0] * self.grid[1]

    @property
    def row(self) -> int:
        """Lines of a row."""
        return self.patch[1] + self.halo[1] + self.halo[3]

    @property
    def lines(self) -> int:
        """Lines of a channel."""
        return (self.patch[0] + self.halo[0] + self.halo[2]) * self.row

    @property
    def first(self) -> int:
        """The line of a patch's first pixel, from that of the channel."""
        return self.halo[0] * self.row + self.halo[1]

    @property
    def total(self) -> int:
        """Lines of all channels."""
        return self.channels * self.lines

    @property
    def same_place(self) -> tuple[object, ...]:
        """What two layouts share whose pixels lie in the same lanes and patches."""
        return self.height, self.width, self.samples, self.grid, self.patch

    def with_halo(self, halo: tuple[int, int, int, int]) -> Layout:
        """The same with a halo."""
        return replace(self, halo=halo)

    @cached_property
    def places(self) -> Table:
        """Where each pixel lies among the numbers of its channel: (samples, height, width)."""
        return self._place(*np.ogrid[: self.samples, : self.height, : self.width])

    def _place(self, sample: NDArray[Any], row: NDArray[Any], column: NDArray[Any]) -> Table:
        """That of some pixels."""
        (ph, pw), (gy, gx) = self.patch, self.grid
        lane = (sample * gy + row // ph) * gx + column // pw
        line = (row % ph + self.halo[0]) * self.row + column % pw + self.halo[1]
        place: Table = (line * self.lanes + _element(lane, self.lanes)).astype(np.int32)
        return place

    @cached_property
    def _lanes(self) -> tuple[Table, Table, Table]:
        lane: Table = np.arange(self.lanes, dtype=np.int32)
        gy, gx = self.grid
        return lane // (gy * gx), lane // gx % gy, lane % gx

    def pixels(self, lines: Table | None = None) -> tuple[Table, Table, Table]:
        """The sample, row and column that each lane of lines holds (of all where none are given), (lines, lanes); outside of the image too."""
        line = np.arange(self.lines, dtype=np.int32) if lines is None else lines
        sample, patch_row, patch_column = self._lanes
        y, x = self._own(line)
        return (
            np.broadcast_to(sample, (len(line), self.lanes)),
            y[:, None] + patch_row * self.patch[0],
            x[:, None] + patch_column * self.patch[1],
        )

    def _own(self, line: Table) -> tuple[Table, Table]:
        """Row and column of lines in their patch; outside of it in a halo."""
        return line // self.row - self.halo[0], line % self.row - self.halo[1]

    def border(self) -> tuple[Table, Table]:
        """The lines that are filled before a neighbour is read: which, and where each of their numbers comes from.

        Returns:
            lines (n,), and for each place in the line that of the number in the channel, or -1 outside of the image, (n, lanes).
        """
        line: Table = np.arange(self.lines, dtype=np.int32)
        row, column = self._own(line)
        last_row, last_column = ((count - 1) * size for count, size in zip(self.grid, self.patch, strict=True))
        own = (row >= 0) & (row < self.patch[0]) & (column >= 0) & (column < self.patch[1])
        own &= (row + last_row < self.height) & (column + last_column < self.width)  # in every lane
        line = line[~own]
        sample, y, x = self.pixels(line)
        inside = (y >= 0) & (y < self.height) & (x >= 0) & (x < self.width)
        table = np.full(inside.shape, -1, dtype=np.int32)
        table[inside] = self._place(sample[inside], y[inside], x[inside])
        in_order = np.empty_like(table)
        in_order[:, _element(np.arange(self.lanes), self.lanes)] = table
        return line, in_order


def _element(lane: NDArray[Any], lanes: int) -> NDArray[Any]:
    """Where a lane's number stands in its line."""
    return lane if lanes == WORDS else 2 * (lane % WORDS) + lane // WORDS
