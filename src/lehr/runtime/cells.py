"""Weights that are kept or dropped as one, and groups of M of which N are kept, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lehr.runtime.checked import ensure, field, shape_of

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """A tensor seen in the shape `dims`: weights that agree in their coordinates on `axes` are one cell.

    With ``n`` above 0 every weight is a cell, and n are kept of each group along the axis `along`.

    >>> Cells((2, 3), (0,)).weights(np.array([1])).tolist()
    [3, 4, 5]
    """

    dims: tuple[int, ...]
    axes: tuple[int, ...]
    n: int = 0
    along: int = 0

    @property
    def count(self) -> int:
        """How many cells there are."""
        return prod(self.dims[axis] for axis in self.axes)

    @property
    def size(self) -> int:
        """Weights in each."""
        return prod(self.dims[axis] for axis in range(len(self.dims)) if axis not in self.axes)

    @property
    def groups(self) -> int:
        """N:M: how many groups of M."""
        return prod(self.dims) // max(1, self.dims[self.along])

    def cells(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Which cells are kept, 1-d; None where some cell is kept in part."""
        others = tuple(axis for axis in range(len(self.dims)) if axis not in self.axes)
        shaped = kept.reshape(self.dims)
        some = np.asarray(shaped.any(axis=others))
        return some.reshape(-1) if bool((shaped.all(axis=others) == some).all()) else None

    def folded(self, places: Places) -> Places | None:
        """The cells whose weights lie at some places, increasing; None where some cell lies there in part. In memory of the places.

        >>> Cells((2, 3), (0,)).folded(np.array([3, 4, 5])).tolist()
        [1]
        """
        if self.size == 1:
            return places
        where = np.unravel_index(places, self.dims)
        owners = np.zeros(len(places), dtype=np.int64)
        for axis in self.axes:
            owners = owners * self.dims[axis] + where[axis]
        found, counts = np.unique(owners, return_counts=True)
        return found if bool((counts == self.size).all()) else None

    def weights(self, cells: Places) -> Places:
        """The row-major places of the weights in some cells, increasing."""
        if self.size == 1:
            return cells
        strides = [prod(self.dims[axis + 1 :]) for axis in range(len(self.dims))]
        base = np.zeros(len(cells), dtype=np.int64)
        if not self.axes:  # all weights are one cell
            return np.arange(self.size * len(cells))
        for axis, coordinate in zip(self.axes, np.unravel_index(cells, [self.dims[a] for a in self.axes]), strict=True):
            base += coordinate * strides[axis]
        within = np.zeros(1, dtype=np.int64)
        for axis in range(len(self.dims)):
            if axis not in self.axes:
                within = (within[:, None] + np.arange(self.dims[axis]) * strides[axis]).reshape(-1)
        return np.sort((base[:, None] + within).reshape(-1))

    def entry(self) -> dict[str, Any]:
        """As it stands in a file."""
        if self.n:
            return {"dims": list(self.dims), "along": self.along, "n": self.n}
        return {"dims": list(self.dims), "axes": list(self.axes)}

    @classmethod
    def of_entry(cls, value: Mapping[str, Any], size: int) -> Cells:
        """The same back, checked against the number of weights."""
        dims = shape_of(value, "dims")
        ensure(prod(dims) == size, f"its dims {dims} are not {size} weights")
        if "n" in value:
            n, along = field(value, "n", int), field(value, "along", int)
            sane = 0 <= along < len(dims) and 0 < n <= dims[along]
            ensure(sane, f"it keeps {str(n)[:20]} along {str(along)[:20]} of {dims}")
            return cls(dims, tuple(range(len(dims))), n, along)
        axes = tuple(field(value, "axes", list))
        sane = all(type(axis) is int and 0 <= axis < len(dims) for axis in axes)
        ensure(sane and bool(axes) and list(axes) == sorted(set(axes)), f"its axes are {str(axes)[:40]}")
        ensure(0 not in dims, f"its dims {dims} have no weights")
        return cls(dims, axes)
