"""Views against torch: what each says about its numbers is where torch has them."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lehr.deploy.views import View, features, image, tokens


def numbers_of(view: View, sizes: dict[str, int], order: str) -> np.ndarray:
    """The places that a view stands for, in an activation whose axes have these sizes and this order."""
    step, steps = 1, {}
    for kind in reversed(order):
        steps[kind] = step
        step *= sizes[kind]
    total = np.full((), view.first * steps["c"])
    for dim in view.dims:
        part = np.zeros((), dtype=np.int64)
        for axis in dim:
            part = part[..., None] + np.arange(axis.size) * axis.step * steps[axis.kind]
        total = total[..., None] + part.reshape(-1)
    return total


def made(kind: str, sizes: dict[str, int]) -> tuple[View, Tensor]:
    n, c = sizes["n"], sizes["c"]
    views = {
        "image": lambda: image("v", n, c, sizes["y"], sizes["x"]),
        "tokens": lambda: tokens("v", n, sizes["t"], c),
        "features": lambda: features("v", n, c),
    }
    view = views[kind]()
    return view, torch.arange(prod(view.shape)).reshape(view.shape)


ORDERS = {"image": "ncyx", "tokens": "ntc", "features": "nc"}


def agree(view: View, tensor: Tensor, kind: str, sizes: dict[str, int]) -> None:
    assert view.shape == tuple(tensor.shape)
    assert np.array_equal(numbers_of(view, sizes, ORDERS[kind]), tensor.numpy())


def test_heads_by_hand():
    view = tokens("v", 2, 5, 12).reshaped((2, 5, 3, 2, 2))
    assert view.shape == (2, 5, 3, 2, 2)
    query, key, value = (view.picked(2, i) for i in range(3))
    assert [one.first for one in (query, key, value)] == [0, 4, 8]
    assert (key.count, key.in_order, key.kinds) == (4, True, ("n", "t", "c", "c"))
    turned = key.permuted((0, 2, 1, 3))
    assert turned.kinds == ("n", "c", "t", "c")
    assert turned.permuted((0, 2, 1, 3)).reshaped((2, 5, -1)).in_order
    assert view.permuted((0, 1, 3, 2, 4)).in_order is False, "channels were exchanged"


def test_an_image_as_tokens_by_hand():
    view = image("v", 2, 3, 4, 5).reshaped((2, 3, 20))
    assert view.kinds == ("n", "c", "yx")
    assert view.permuted((0, 2, 1)).kinds == ("n", "yx", "c")
    assert image("v", 2, 3, 4, 5).reshaped((2, -1)).kinds == ("n", "cyx")


@pytest.mark.parametrize("shape", [(2, 3, 2, 2, 5), (4, 3, 2, 5), (2, 2, 3, 10), (2, 3, 4, 4), (6, 4, 5), (2, 15, -1)])
def test_what_cuts_through_rows_or_samples_is_refused(shape):
    found = image("v", 2, 3, 4, 5).reshaped(shape)
    assert found is None or found.kinds[0] != "n"


def test_rows_and_tokens_are_never_picked():
    view = image("v", 2, 3, 4, 5)
    assert [view.picked(dim, 0) is None for dim in range(4)] == [True, False, True, True]
    assert [view.narrowed(dim, 0, 1) is None for dim in range(4)] == [True, False, True, True]
    assert tokens("v", 2, 5, 3).picked(1, 0) is None


@st.composite
def starts(draw):
    kind = draw(st.sampled_from(list(ORDERS)))
    sizes = {letter: draw(st.integers(1, 4)) for letter in "nyxt"}
    sizes["c"] = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24]))
    return kind, sizes


def factors(draw, number: int) -> list[int]:
    found = []
    while number > 1 and draw(st.booleans()):
        factor = draw(st.sampled_from([n for n in range(2, number + 1) if number % n == 0]))
        found.append(factor)
        number //= factor
    return [*found, number]


def new_shape(draw, shape: tuple[int, ...]) -> list[int]:
    """Dimensions split, joined, and with ones between them."""
    split = [factor for size in shape for factor in factors(draw, size)]
    joined: list[int] = []
    for size in split:
        if joined and draw(st.integers(0, 3)) == 0:
            joined[-1] *= size
        else:
            joined.append(size)
    if draw(st.booleans()):
        joined.insert(draw(st.integers(0, len(joined))), 1)
    return joined


def step(draw, view: View, tensor: Tensor) -> tuple[View | None, Tensor]:
    """One thing that is done to both."""
    dim = draw(st.integers(0, len(view.dims) - 1))
    size = view.shape[dim]
    match draw(st.sampled_from(["reshape", "reshape", "permute", "select", "narrow", "unbind"])):
        case "reshape":
            shape = new_shape(draw, view.shape)
            if draw(st.booleans()) and prod(shape):
                shape[draw(st.integers(0, len(shape) - 1))] = -1
            return view.reshaped(shape), tensor.reshape(shape)
        case "permute":
            order = draw(st.permutations(range(len(view.dims))))
            return view.permuted(order), tensor.permute(order)
        case "select" if len(view.dims) > 1:
            index = draw(st.integers(0, size - 1))
            return view.picked(dim, index), tensor.select(dim, index)
        case "unbind" if len(view.dims) > 1:
            parts = [view.picked(dim, index) for index in range(size)]
            assert len({part is None for part in parts}) == 1
            return parts[-1], tensor.unbind(dim)[-1]
        case _:
            first = draw(st.integers(0, size - 1))
            count = draw(st.integers(1, size - first))
            return view.narrowed(dim, first, count), tensor.narrow(dim, first, count)


@given(start=starts(), data=st.data())
def test_a_view_says_where_torch_has_its_numbers(start, data):
    kind, sizes = start
    view, tensor = made(kind, sizes)
    agree(view, tensor, kind, sizes)
    for _ in range(data.draw(st.integers(1, 5))):
        after, moved = step(data.draw, view, tensor)
        if after is None:
            continue
        view, tensor = after, moved
        agree(view, tensor, kind, sizes)
        assert view.count * prod(a.size for dim in view.dims for a in dim if a.kind != "c") == tensor.numel()


@given(start=starts(), data=st.data())
def test_channels_in_order_follow_each_other(start, data):
    kind, sizes = start
    view, tensor = made(kind, sizes)
    for _ in range(data.draw(st.integers(1, 5))):
        after, moved = step(data.draw, view, tensor)
        if after is not None:
            view, tensor = after, moved
    for axis, letter in enumerate(ORDERS[kind]):
        if letter != "c":  # of the first sample, row, column and token
            rest = prod(sizes[k] for k in ORDERS[kind][axis + 1 :])
            tensor = tensor.reshape(-1)[tensor.reshape(-1) // rest % sizes[letter] == 0]
    rest = prod(sizes[k] for k in ORDERS[kind][ORDERS[kind].index("c") + 1 :])
    channels = (tensor.reshape(-1) // rest % sizes["c"]).tolist()
    if channels:
        follow = channels == list(range(channels[0], channels[0] + len(channels)))
        assert view.in_order == follow
