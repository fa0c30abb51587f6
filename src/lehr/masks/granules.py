"""Granularity: which weights are chosen, dropped and drawn as one.

A granularity is written as text, once for each parameter: ``unstructured``, ``N:M`` (N kept of every M
weights along the input), ``block:RxC`` (of the matrix outputs x inputs), ``filter`` (all weights into
one output: a filter, a neuron), or, made by `lehr.masks.heads`, ``head:H:rows@GROUP``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from lehr.base.draws import Stream
from lehr.base.errors import LehrError, unknown

KINDS = ("unstructured", "N:M", "block:RxC", "filter", "head")


@dataclass(frozen=True)
class Granules:
    """How the weights of one parameter group into granules.

    Seen in the shape `dims`, all weights that agree in their coordinates on `axes` are one granule.
    Parameters with the same `group` share their granules. With ``n`` above 0, N:M: exactly n granules
    are kept along the axis `along`.

    >>> filters = Granules("w", dims=(2, 3), axes=(0,))
    >>> filters.count, filters.size, filters.fold(torch.tensor([1.0, 2, 3, 4, 5, 6])).tolist()
    (2, 3, [6.0, 15.0])
    >>> filters.spread(torch.tensor([True, False])).tolist()
    [True, True, True, False, False, False]
    """

    group: str
    dims: tuple[int, ...]
    axes: tuple[int, ...]
    n: int = 0
    along: int = 0

    @property
    def count(self) -> int:
        """Granules in the parameter."""
        return prod(self.dims[axis] for axis in self.axes)

    @property
    def size(self) -> int:
        """Weights of this parameter in each granule."""
        return prod(self.dims) // max(1, self.count)

    def fold(self, scores: Tensor) -> Tensor:
        """The sum of each granule, 1-d, from one number a weight."""
        if self.size == 1:
            return scores.reshape(-1)
        others = [axis for axis in range(len(self.dims)) if axis not in self.axes]
        return scores.reshape(self.dims).sum(others).reshape(-1)

    def spread(self, values: Tensor) -> Tensor:
        """One value a weight, 1-d in row-major order, from one a granule."""
        if self.size == 1:
            return values
        kept = [n if axis in self.axes else 1 for axis, n in enumerate(self.dims)]
        return values.reshape(kept).expand(self.dims).reshape(-1)

    def best_of_each(self, scores: Tensor, allowed: Tensor | None, tie_breaker: Stream) -> Tensor:
        """N:M: bool, 1-d, the n best allowed granules along the input in every group of M; ties by the seed.

        >>> from lehr.base.draws import Purpose
        >>> two_of_four = granules("2:4", "w", (1, 4))
        >>> two_of_four.best_of_each(torch.tensor([3.0, 0.0, 5.0, 1.0]), None, Stream(0, "w", Purpose.TIE)).tolist()
        [True, False, True, False]
        """
        grouped = scores.detach().cpu().double().reshape(self.dims).movedim(self.along, -1)
        free = None if allowed is None else allowed.cpu().reshape(self.dims).movedim(self.along, -1)
        if free is not None:
            grouped = grouped.masked_fill(~free, -torch.inf)
        keys = torch.from_numpy(tie_breaker.bits(0, grouped.numel()).astype("int32")).reshape(grouped.shape)
        shuffled = keys.argsort(dim=-1, stable=True)
        order = grouped.gather(-1, shuffled).argsort(dim=-1, descending=True, stable=True)[..., : self.n]
        kept = torch.zeros(grouped.shape, dtype=torch.bool).scatter(-1, shuffled.gather(-1, order), True)
        if free is not None:
            kept &= free
        return kept.movedim(-1, self.along).reshape(-1)


def granules(text: str, name: str, shape: Sequence[int]) -> Granules:
    """How a granularity cuts a parameter of this name and shape.

    Raises `LehrError` where the text is not understood or the shape does not divide.

    >>> granules("block:2x2", "w", (4, 6)).count
    6
    >>> granules("2:4", "w", (4, 6))
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: 2:4 needs inputs in multiples of 4 and w has 6: leave it out, exclude_modules=['w'] or --exclude-module w
    """
    size = prod(shape)
    outputs = shape[0] if shape else 1
    inputs = size // max(1, outputs)
    if text == "unstructured":
        return Granules(name, (size,), (0,))
    if text == "filter":
        return Granules(name, (outputs, inputs), (0,))
    if pair := re.fullmatch(r"(\d{1,9}):(\d{1,9})", text):
        n, m = _n_of_m(text, int(pair[1]), int(pair[2]))
        channels = shape[1] if len(shape) > 1 else 1
        if channels % m:
            raise LehrError(
                f"{text} needs inputs in multiples of {m} and {name} has {channels}: leave it out, {_exclude(name)}"
            )
        dims = (outputs, channels // m, m, prod(shape[2:]))
        return Granules(name, dims, (0, 1, 2, 3), n, along=2)
    if pair := re.fullmatch(r"block:(\d{1,9})x(\d{1,9})", text):
        rows, columns = int(pair[1]), int(pair[2])
        if not rows or not columns:
            raise LehrError(f"the granularity {text} has an empty side: write block:4x1, outputs x inputs")
        if outputs % rows or inputs % columns:
            raise LehrError(
                f"{text} does not divide {name}, which is {outputs} outputs x {inputs} inputs: "
                f"leave it out, {_exclude(name)}"
            )
        return Granules(name, (outputs // rows, rows, inputs // columns, columns), (0, 2))
    if pair := re.fullmatch(r"head:(\d{1,9}):(rows|columns)@(.*)", text):
        return _head(int(pair[1]), pair[2], pair[3], name, outputs, inputs)
    raise unknown("granularity", text, KINDS)


def n_of_m_sparsity(text: str) -> float | None:
    """``1 - N/M`` for an N:M granularity, None for any other.

    >>> n_of_m_sparsity("1:4"), n_of_m_sparsity("filter")
    (0.75, None)
    """
    if pair := re.fullmatch(r"(\d{1,9}):(\d{1,9})", text):
        n, m = _n_of_m(text, int(pair[1]), int(pair[2]))
        return 1.0 - n / m
    return None


def check_granularity(text: str) -> str:
    """The text again, if a user may write it.

    >>> check_granularity("filter"), check_granularity("neuron")
    ('filter', 'filter')
    """
    if text == "neuron":
        return "filter"
    if text not in ("unstructured", "filter", "head"):
        if ":" in text and not text.startswith("block:") and n_of_m_sparsity(text) is None:
            raise unknown("granularity", text, KINDS)
        if ":" not in text or (text.startswith("block:") and not re.fullmatch(r"block:[1-9]\d*x[1-9]\d*", text)):
            raise unknown("granularity", text, KINDS)
    return text


def _exclude(name: str) -> str:
    module = name.rpartition(".")[0] or name
    return f"exclude_modules=[{module!r}] or --exclude-module {module}"


def _n_of_m(text: str, n: int, m: int) -> tuple[int, int]:
    if not 0 < n <= m:
        raise LehrError(
            f"the granularity {text} keeps {n} of every {m} weights: write N:M with 0 < N <= M, such as 2:4"
        )
    return n, m


def _head(heads: int, role: str, group: str, name: str, outputs: int, inputs: int) -> Granules:
    """Rows: outputs are (parts, heads, width); columns: inputs are (heads, width)."""
    if role == "columns" and heads and inputs % heads == 0:
        return Granules(group, (outputs, heads, inputs // heads), (1,))
    if role == "rows" and heads and outputs % heads == 0:
        parts = 3 if group and outputs == 3 * inputs else 1
        return Granules(group, (parts, heads, outputs // parts // heads * inputs), (1,))
    raise LehrError(f"{name} is {outputs} x {inputs} and does not divide among {heads} heads: leave it out")
