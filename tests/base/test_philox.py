import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lehr.base import philox

words = st.integers(0, 2**64 - 1)


def test_known_answers_of_the_generators_authors():
    """From the known-answer file that Random123 ships."""
    assert philox.block((0, 0), (0, 0, 0, 0)) == (
        0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B,
    )  # fmt: skip
    ones = 2**64 - 1
    assert philox.block((ones, ones), (ones, ones, ones, ones)) == (
        0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0,
    )  # fmt: skip


@given(st.tuples(words, words), st.tuples(words, words, words), st.integers(0, 10**6), st.integers(0, 70))
def test_the_vectorised_numbers_are_those_of_the_reference(key, counter, start, count):
    assert philox.bits16(key, counter, start, count).tolist() == philox.bits16_reference(key, counter, start, count)


def test_the_last_counter_before_it_wraps():
    top = 2**64 - 1
    assert philox.bits16((1, 2), (top, top, top), 0, 20).tolist() == philox.bits16_reference(
        (1, 2), (top, top, top), 0, 20
    )


@given(st.integers(0, 500), st.integers(0, 300))
def test_any_part_can_be_drawn_alone(start, count):
    whole = philox.bits16((7, 8), (9, 0, 0), 0, start + count)
    assert np.array_equal(philox.bits16((7, 8), (9, 0, 0), start, count), whole[start:])


def test_keys_differ_by_name_and_seed_and_not_by_process():
    assert philox.key(1, "a") != philox.key(1, "b")
    assert philox.key(1, "a") != philox.key(2, "a")
    assert philox.key(0, "fc.weight") == (0, 0x73D2D3DB05BA26CA), "a resumed run must find its numbers again"
