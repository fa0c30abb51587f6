"""What only arranges: reshapes, transposes, slices, padding, stored tokens before others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lehr.deploy import views
from lehr.deploy.capture.rule import Unknown, rule
from lehr.deploy.views import View
from lehr.runtime.graph import OWN
from lehr.runtime.tensors import Stored

if TYPE_CHECKING:
    from lehr.deploy.capture.translation import Translation


WHOLE = 2**31  # what a slice without an end has as its end is larger


@rule("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze")
def _reshape(t: Translation, node: Any, x: Any, *_: Any) -> View:
    if not isinstance(x, View):
        raise Unknown("a reshape of something stored")
    found = x.reshaped(list(node.meta["val"].shape))
    if found is None:
        raise Unknown(f"a reshape of {x.shape} to {tuple(node.meta['val'].shape)}")
    return found


@rule("transpose")
def _transpose(t: Translation, node: Any, x: Any, a: int, b: int) -> Any:
    if not isinstance(x, View):
        raise Unknown("a transpose of something stored")
    order = list(range(len(x.dims)))
    order[a], order[b] = order[b], order[a]
    return x.permuted(order)


@rule("permute")
def _permute(t: Translation, node: Any, x: Any, order: Sequence[int]) -> View:
    if not isinstance(x, View):
        raise Unknown("a permutation of something stored")
    return x.permuted([place % len(x.dims) for place in order])


@rule("contiguous", "clone", "dropout", "dropout_", "feature_dropout", "alias", "detach")
def _same(t: Translation, node: Any, x: Any, *rest: Any, **_: Any) -> Any:
    if "dropout" in str(node.target) and len(rest) > 1 and rest[1]:
        raise Unknown("dropout in training mode")
    return x


@rule("expand")
def _expand(t: Translation, node: Any, x: Any, shape: Sequence[int], *_: Any) -> Any:
    if isinstance(x, Stored) and len(x.shape) == len(shape) and x.shape[0] == 1:
        kept = all(n in (-1, have) for n, have in zip(shape[1:], x.shape[1:], strict=True))
        if kept:
            return x  # the same for every sample
    raise Unknown("an expansion over more than the batch")


@rule("cat")
def _cat(t: Translation, node: Any, parts: Sequence[Any], dim: int = 0) -> View:
    if (
        len(parts) == 2
        and isinstance(parts[0], Stored)
        and isinstance(parts[1], View)
        and dim == 1
        and len(parts[1].dims) == 3
    ):
        value, (batch, count) = t.rows(parts[1])
        extra = parts[0].shape
        if len(extra) == 3 and extra[0] == 1 and extra[2] == parts[1].shape[2]:
            name = t.emit("prepend", [value], node.name, constant=parts[0].name)
            return views.tokens(name, batch, count + extra[1], extra[2])
    raise Unknown("a concatenation of anything but stored tokens before others")


@rule("unbind")
def _unbind(t: Translation, node: Any, x: Any, dim: int = 0) -> list[View]:
    if isinstance(x, View):
        found = [x.picked(dim % len(x.dims), index) for index in range(x.shape[dim])]
        if all(view is not None for view in found):
            return [view for view in found if view is not None]
    raise Unknown("unbind along anything but channels")


@rule("split", "chunk", "split_with_sizes")
def _split(t: Translation, node: Any, x: Any, size: Any, dim: int = 0) -> list[View]:
    sizes = [tuple(one.shape)[dim] for one in node.meta["val"]]
    if isinstance(x, View):
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        found = [x.narrowed(dim % len(x.dims), start, n) for start, n in zip(starts, sizes, strict=True)]
        if all(view is not None for view in found):
            return [view for view in found if view is not None]
    raise Unknown("a split along anything but channels")


@rule("getitem")
def _getitem(t: Translation, node: Any, x: Any, index: int) -> Any:
    if isinstance(x, View):  # the first of several outputs, such as of a pooling with indices
        if index:
            raise Unknown("another output than the first")
        return x
    return x[index]


@rule("select")
def _select(t: Translation, node: Any, x: Any, dim: int, index: int) -> View:
    if isinstance(x, View):
        dim %= len(x.dims)
        if dim == 1 and len(x.dims) == 3 and x.kinds[1] in ("t", "yx", "y", "x"):
            value, (batch, count) = t.rows(x)
            return views.features(t.emit("token", [value], node.name, index=index % count), batch, x.shape[2])
        if dim and (found := x.picked(dim, index % x.shape[dim])) is not None:
            return found
    raise Unknown("a selection along anything but tokens or channels")


@rule("slice")
def _slice(t: Translation, node: Any, x: Any, dim: int = 0, first: Any = None, last: Any = None, step: int = 1) -> Any:
    if dim == 0 and last is not None and last < WHOLE:
        raise Unknown("a slice of the batch")
    to_end = isinstance(x, View) and (last is None or last >= x.shape[dim])
    if isinstance(x, View) and to_end and len(x.dims) == 4 and dim in (2, 3) and step > 1 and first in (None, 0):
        view = t.image(x)  # every so-manyth row or column: a convolution that passes channels on
        name = _passed(t, node, view, view.channels, 0, [step if dim == 2 else 1, step if dim == 3 else 1])
        return views.image(name, *node.meta["val"].shape)
    if isinstance(x, View) and step == 1:
        size = x.shape[dim]
        begin = 0 if first is None else first if first >= 0 else first + size
        end = size if last is None or last > size else last if last >= 0 else last + size
        if (begin, end) == (0, size):
            return x
        if (found := x.narrowed(dim % len(x.dims), begin, end - begin)) is not None:
            return found
    raise Unknown("a slice of anything but channels")


def _passed(t: Translation, node: Any, view: View, channels: int, first: int, stride: list[int]) -> str:
    """A convolution of one pixel whose output channel ``first + c`` is the input channel c."""
    name = f"{OWN}{node.name}.identity"
    inputs = view.channels
    places = np.arange(first, first + inputs) * inputs + np.arange(inputs)
    t.tensors[name] = Stored(name, "F32", (channels, inputs, 1, 1), np.ones(inputs, dtype=np.float32), places)
    attributes = {"weight": name, "stride": stride, "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    return t.emit("conv", [view.value], node.name, **attributes)


@rule("pad", "constant_pad_nd")
def _pad(t: Translation, node: Any, x: Any, sizes: Sequence[int], mode: Any = "constant", value: Any = 0) -> View:
    view = t.image(x)
    sizes = [*sizes, *[0] * (8 - len(sizes))]
    if (
        mode not in ("constant", 0, 0.0)
        or value not in (None, 0, 0.0)
        or any(sizes[:4])
        or any(sizes[6:])
        or min(sizes) < 0
    ):
        raise Unknown("padding of anything but channels with zeros")
    name = _passed(t, node, view, view.channels + sizes[4] + sizes[5], sizes[4], [1, 1])
    return views.image(name, *node.meta["val"].shape)
