"""Activations share memory only when they are not needed at the same time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lehr.runtime.lowering.arena import PAGE, allot


def test_what_is_no_longer_needed_makes_room():
    assert allot({"a": 8, "b": 8, "c": 8}, {"a": (0, 1), "b": (1, 2), "c": (2, 3)}) == ({"a": 0, "b": 8, "c": 0}, 16)


def test_a_value_that_is_needed_throughout_keeps_its_place():
    places, lines = allot({"long": 4, "a": 4, "b": 4}, {"long": (0, 9), "a": (1, 2), "b": (3, 4)})
    assert places["a"] == places["b"] != places["long"]
    assert lines == 8


def test_it_fits_into_a_gap():
    lives = {"a": (0, 9), "b": (0, 1), "c": (0, 9), "d": (2, 3)}
    places, lines = allot({"a": 12, "b": 8, "c": 8, "d": 4}, lives)
    assert places["d"] == places["b"], "where b was"
    assert lines == 28


def test_values_begin_at_multiples_of_a_page():
    places, lines = allot({"a": 3, "b": 1}, {"a": (0, 0), "b": (0, 0)})
    assert (places, lines) == ({"a": 0, "b": PAGE}, PAGE + 1)


def test_nothing_needs_nothing():
    assert allot({}, {}) == ({}, 0)


LIVES = st.tuples(st.integers(0, 12), st.integers(0, 6)).map(lambda t: (t[0], t[0] + t[1]))
VALUES = st.dictionaries(st.integers(0, 30).map(str), st.tuples(st.integers(1, 40), LIVES), max_size=14)


@given(VALUES)
def test_no_two_values_that_live_at_once_overlap(values):
    sizes = {name: size for name, (size, _) in values.items()}
    lives = {name: life for name, (_, life) in values.items()}
    places, lines = allot(sizes, lives)
    assert places.keys() == sizes.keys()
    for one, place in places.items():
        assert place >= 0
        assert place % PAGE == 0
        assert place + sizes[one] <= lines
        for other in places.keys() - {one}:
            together = lives[one][0] <= lives[other][1] and lives[other][0] <= lives[one][1]
            apart = place + sizes[one] <= places[other] or places[other] + sizes[other] <= place
            assert apart or not together
    at_once = [sum(s for n, s in sizes.items() if lives[n][0] <= t <= lives[n][1]) for t in range(20)]
    assert max(at_once) <= lines <= sum(-(-size // PAGE) * PAGE for size in sizes.values())
