"""Cells: the same weights as `lehr.masks.granules` says, with arrays."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lehr.base.errors import LehrError
from lehr.masks.granules import granules
from lehr.runtime.cells import Cells

BLOCKS = Cells((2, 2, 3, 1), (0, 2))  # block:2x1 of 4 outputs x 3 inputs

seen = st.lists(st.integers(1, 4), min_size=1, max_size=4).flatmap(
    lambda dims: st.tuples(
        st.just(tuple(dims)), st.lists(st.integers(0, len(dims) - 1), unique=True, min_size=1).map(sorted)
    )
)


def test_filters_by_hand():
    filters = Cells((3, 2), (0,))
    assert (filters.count, filters.size) == (3, 2)
    assert filters.weights(np.array([0, 2])).tolist() == [0, 1, 4, 5]
    assert filters.cells(np.array([1, 1, 0, 0, 1, 1], dtype=bool)).tolist() == [True, False, True]
    assert filters.cells(np.array([1, 0, 0, 0, 1, 1], dtype=bool)) is None


def test_blocks_by_hand():
    # 0  1  2
    # 3  4  5     the first row of blocks is made of the first two outputs
    # 6  7  8
    # 9 10 11
    assert (BLOCKS.count, BLOCKS.size) == (6, 2)
    assert BLOCKS.weights(np.array([1])).tolist() == [1, 4]
    assert BLOCKS.weights(np.array([0, 5])).tolist() == [0, 3, 8, 11]


def test_groups_by_hand():
    two_of_four = Cells((2, 3, 4, 1), (0, 1, 2, 3), n=2, along=2)
    assert (two_of_four.groups, two_of_four.count, two_of_four.size) == (6, 24, 1)


@given(seen, st.data())
def test_cells_and_weights_are_inverse(dims_axes, data):
    cells = Cells(dims_axes[0], tuple(dims_axes[1]))
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=cells.count, max_size=cells.count)), dtype=bool)
    places = cells.weights(np.flatnonzero(chosen))
    assert len(places) == chosen.sum() * cells.size
    assert (np.diff(places) > 0).all()
    kept = np.zeros(prod(cells.dims), dtype=bool)
    kept[places] = True
    assert cells.cells(kept).tolist() == chosen.tolist()


@pytest.mark.parametrize("text", ["filter", "block:2x3", "2:4", "head:2:rows@g", "head:2:columns@g"])
def test_they_are_those_of_a_mask(text):
    cut = granules(text, "w", (4, 12))
    cells = Cells(cut.dims, cut.axes, cut.n, cut.along)
    assert (cells.count, cells.size) == (cut.count, cut.size)
    for chosen in (0, cut.count // 2, cut.count - 1):
        spread = cut.spread(torch.arange(cut.count) == chosen)
        assert cells.weights(np.array([chosen])).tolist() == spread.nonzero().reshape(-1).tolist()


@pytest.mark.parametrize("cells", [BLOCKS, Cells((4, 3), (0,)), Cells((1, 3, 4, 1), (0, 1, 2, 3), n=1, along=2)])
def test_an_entry_gives_it_back(cells):
    assert Cells.of_entry(cells.entry(), 12) == cells


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "its dims is 'None'"),
        ({"dims": [4, 4], "axes": [0]}, r"its dims \(4, 4\) are not 12 weights"),
        ({"dims": [-4, -3], "axes": [0]}, "its dims is"),
        ({"dims": [4.0, 3], "axes": [0]}, "its dims is"),
        ({"dims": [True, 12], "axes": [0]}, "its dims is"),
        ({"dims": [12] + [1] * 16, "axes": [0]}, "its dims is"),
        ({"dims": [2**41], "axes": [0]}, "its dims is"),
        ({"dims": [2**30, 2**30], "axes": [0]}, "its dims is"),
        ({"dims": [4, 3]}, "its axes is 'None'"),
        ({"dims": [4, 3], "axes": [2]}, r"its axes are \(2,\)"),
        ({"dims": [4, 3], "axes": [-1]}, "its axes are"),
        ({"dims": [4, 3], "axes": [1, 0]}, "its axes are"),
        ({"dims": [4, 3], "axes": [0, 0]}, "its axes are"),
        ({"dims": [4, 3], "axes": [False]}, "its axes are"),
        ({"dims": [4, 3], "axes": [[]]}, "its axes are"),
        ({"dims": [3, 4], "n": 2}, "its along is 'None'"),
        ({"dims": [3, 4], "n": 2, "along": 2}, "it keeps 2 along 2"),
        ({"dims": [3, 4], "n": 2, "along": -1}, "it keeps 2 along -1"),
        ({"dims": [3, 4], "n": 5, "along": 1}, "it keeps 5 along 1"),
        ({"dims": [3, 4], "n": 0, "along": 1}, "it keeps 0 along 1"),
        ({"dims": [3, 4], "n": 1.5, "along": 1}, "its n is '1.5'"),
    ],
)
def test_an_entry_that_lies_is_told(entry, message):
    with pytest.raises(LehrError, match=message):
        Cells.of_entry(entry, 12)


def test_all_weights_as_one_cell():
    assert Cells((2, 2), ()).weights(np.array([0])).tolist() == [0, 1, 2, 3]
