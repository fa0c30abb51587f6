"""What reshapes and transposes do to an activation, followed without moving a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod


@dataclass(frozen=True)
class Axis:
    """A run of indices: of samples ``n``, channels ``c``, rows ``y``, columns ``x`` or tokens ``t``; of channels with a step."""

    kind: str
    size: int
    step: int = 1


Dim = tuple[Axis, ...]  # one dimension of a tensor: axes, the slowest first


@dataclass(frozen=True)
class View:
    """A tensor as dimensions made of axes of an activation.

    Args:
        value: name of the activation in the graph.
        channels: that it has.
        dims: of the tensor.
        first: channel that index 0 stands for.
    """

    value: str
    channels: int
    dims: tuple[Dim, ...]
    first: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return tuple(prod(axis.size for axis in dim) for dim in self.dims)

    def reshaped(self, shape: Sequence[int]) -> View | None:
        """In another shape; None where that cuts through an axis other than the channels'.

        >>> view = tokens("v", 1, 5, 12).reshaped([1, 5, 3, 2, 2])
        >>> [axis.step for (axis,) in view.dims[2:]]
        [4, 2, 1]
        """
        axes = [axis for dim in self.dims for axis in dim]
        wanted = list(shape)
        if wanted.count(-1) == 1:
            known = prod(n for n in wanted if n != -1)
            wanted[wanted.index(-1)] = prod(axis.size for axis in axes) // max(1, known)
        if prod(wanted) != prod(axis.size for axis in axes):
            return None
        dims: list[Dim] = []
        for size in wanted:
            dim: list[Axis] = []
            left = size
            while axes and (left > 1 or (not dim and size == 1 and axes[0].size == 1)):
                axis = axes.pop(0)
                if left % axis.size == 0:
                    dim.append(axis)
                    left //= axis.size
                    if size == 1:
                        break
                elif axis.kind == "c" and axis.size % left == 0:
                    inner = axis.size // left
                    dim.append(Axis("c", left, axis.step * inner))
                    axes.insert(0, Axis("c", inner, axis.step))
                    left = 1
                else:
                    return None
            if left != 1:
                return None
            dims.append(tuple(dim))
        while axes and axes[0].size == 1:
            axes.pop(0)
        return None if axes else replace(self, dims=tuple(dims))

    def permuted(self, order: Sequence[int]) -> View:
        """With its dimensions in another order."""
        return replace(self, dims=tuple(self.dims[place] for place in order))

    def picked(self, dim: int, index: int) -> View | None:
        """One index of a dimension of channels, which is dropped; None for another."""
        axes = [axis for axis in self.dims[dim] if axis.size > 1]
        rest = self.dims[:dim] + self.dims[dim + 1 :]
        if not axes:
            return replace(self, dims=rest)
        if len(axes) != 1 or axes[0].kind != "c":
            return None
        return replace(self, dims=rest, first=self.first + index * axes[0].step)

    def narrowed(self, dim: int, first: int, size: int) -> View | None:
        """Some indices of a dimension of channels."""
        axes = [axis for axis in self.dims[dim] if axis.size > 1]
        if len(axes) != 1 or axes[0].kind != "c":
            return None
        cut: Dim = (replace(axes[0], size=size),)
        dims = (*self.dims[:dim], cut, *self.dims[dim + 1 :])
        return replace(self, dims=dims, first=self.first + first * axes[0].step)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The axes of each dimension, as letters; those of size 1 left out, and neighbours of one kind told once."""
        names = []
        for dim in self.dims:
            letters = [axis.kind for axis in dim if axis.size > 1 or axis.kind == "n"]
            names.append("".join(k for i, k in enumerate(letters) if not i or letters[i - 1] != k))
        return tuple(names)

    @property
    def in_order(self) -> bool:
        """Whether its channels follow each other without a gap."""
        step = 1
        for axis in reversed([axis for dim in self.dims for axis in dim if axis.kind == "c" and axis.size > 1]):
            if axis.step != step:
                return False
            step *= axis.size
        return True

    @property
    def count(self) -> int:
        """Channels that it covers."""
        return prod(axis.size for dim in self.dims for axis in dim if axis.kind == "c")


def image(value: str, batch: int, channels: int, height: int, width: int) -> View:
    """A tensor (N, C, H, W)."""
    return View(
        value, channels, ((Axis("n", batch),), (Axis("c", channels),), (Axis("y", height),), (Axis("x", width),))
    )


def tokens(value: str, batch: int, count: int, channels: int) -> View:
    """A tensor (N, T, C)."""
    return View(value, channels, ((Axis("n", batch),), (Axis("t", count),), (Axis("c", channels),)))


def features(value: str, batch: int, channels: int) -> View:
    """A tensor (N, C)."""
    return View(value, channels, ((Axis("n", batch),), (Axis("c", channels),)))
