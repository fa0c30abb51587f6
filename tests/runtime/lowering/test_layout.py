"""Every pixel has one place, every line of a halo knows what belongs there."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lehr.runtime.lowering.layout import WORDS, Layout


def test_sixteen_patches_of_one_image_by_hand():
    layout = Layout(3, 8, 8, 1, (4, 4), (2, 2))
    assert (layout.row, layout.lines, layout.first, layout.total) == (2, 4, 0, 12)
    places = layout.places[0]
    assert places[0, 0] == 0, "line 0, lane 0"
    assert places[0, 1] == WORDS, "the next pixel of the same patch is in the next line"
    assert places[0, 2] == 1, "the next patch is in the next lane"
    assert places[2, 0] == 4, "the patch below is four lanes further"
    assert places[7, 7] == 3 * WORDS + 15


def test_sixteen_samples_have_a_lane_each():
    layout = Layout(2, 2, 3, 16, (1, 1), (2, 3))
    assert layout.lines == 6
    assert layout.places[5, 1, 2] == 5 * WORDS + 5


def test_tokens_lie_in_runs():
    layout = Layout(8, 1, 20, 1, (1, 16), (1, 2))
    assert layout.places[0, 0, :5].tolist() == [0, 16, 1, 17, 2]
    assert layout.lines == 2


def test_a_halo_is_around_each_patch():
    layout = Layout(1, 8, 8, 1, (4, 4), (2, 2)).with_halo((1, 2, 3, 0))
    assert (layout.row, layout.lines, layout.first) == (4, 24, 6)
    assert layout.places[0, 0, 0] == 6 * WORDS
    assert layout.same_place == layout.with_halo((0, 0, 0, 0)).same_place
    assert layout.same_place != Layout(1, 8, 8, 1, (4, 4), (3, 2)).same_place


def test_a_border_by_hand():
    layout = Layout(1, 4, 4, 1, (4, 4), (1, 1)).with_halo((1, 0, 0, 0))  # each patch wants the pixel above it
    lines, table = layout.border()
    assert lines.tolist() == [0]
    assert table[0, :4].tolist() == [-1] * 4, "nothing is above the image"
    assert table[0, 4:].tolist() == [WORDS + lane for lane in range(12)], "else the pixel of the patch above"


def test_the_border_of_a_large_image_takes_less_than_the_image():
    layout = Layout(1, 512, 512, 1, (4, 4), (128, 128)).with_halo((1, 1, 1, 1))
    tracemalloc.start()
    layout.border()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < layout.lines * layout.lanes * 4


def test_in_bf16_two_lanes_share_a_word():
    layout = Layout(1, 4, 8, 2, (4, 4), (1, 2))
    assert layout.lanes == 32
    assert layout.places[0, 0, 0] == 0, "line 0, lane 0: the low half of word 0"
    assert layout.places[0, 0, 2] == 2, "lane 1: the low half of word 1"
    assert layout.places[1, 0, 0] == 1, "the other image is in the high halves"
    assert layout.places[1, 3, 7] == 32 + 31


def lane_at(element: int, lanes: int) -> int:
    """The lane whose number stands at a place of a line."""
    return element if lanes == WORDS else element % 2 * WORDS + element // 2


@st.composite
def layouts(draw) -> Layout:
    samples, grid = draw(
        st.sampled_from(
            [(16, (1, 1)), (1, (4, 4)), (1, (1, 16)), (4, (2, 2)), (2, (2, 4)), (32, (1, 1)), (2, (4, 4)), (1, (4, 8))]
        )
    )
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    patch = tuple(-(-size // n) + draw(st.integers(0, 2)) for size, n in zip((height, width), grid, strict=True))
    halo = draw(st.tuples(*[st.integers(0, 3)] * 4))
    return Layout(draw(st.integers(1, 3)), height, width, samples, grid, patch, halo)


@given(layouts())
def test_no_two_pixels_share_a_place(layout):
    places = layout.places
    assert places.shape == (layout.samples, layout.height, layout.width)
    assert len(np.unique(places)) == places.size
    assert places.min() >= layout.first * layout.lanes
    assert places.max() < layout.lines * layout.lanes
    assert layout.total == layout.channels * layout.lines


@given(layouts())
def test_pixels_tell_what_lies_at_each_place(layout):
    line, element = np.divmod(layout.places, layout.lanes)
    lane = np.array([lane_at(n, layout.lanes) for n in range(layout.lanes)])[element]
    sample, row, column = (values[line, lane] for values in layout.pixels())
    wanted = np.indices(layout.places.shape)
    assert np.array_equal(np.stack([sample, row, column]), wanted)


@given(layouts())
def test_a_border_is_what_a_neighbour_reads_and_what_lies_outside(layout):
    lines, table = layout.border()
    sample, row, column = layout.pixels()
    inside = (row >= 0) & (row < layout.height) & (column >= 0) & (column < layout.width)
    full = {int(n): where for n, where in zip(lines, table, strict=True)}
    owned = np.zeros(layout.lines, dtype=bool)
    owned[layout.places.reshape(-1) // layout.lanes] = True
    for line in range(layout.lines):
        if line not in full:
            assert inside[line].all(), "what is left alone is inside of the image"
            assert owned[line], "and not in a halo"
            continue
        for element in range(layout.lanes):
            lane = lane_at(element, layout.lanes)
            pixel = sample[line, lane], row[line, lane], column[line, lane]
            assert full[line][element] == (layout.places[pixel] if inside[line, lane] else -1)
