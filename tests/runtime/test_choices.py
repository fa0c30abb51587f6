"""N of every M as digits in words of 64 bits."""

from __future__ import annotations

from itertools import combinations
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr.base.errors import LehrError
from lehr.runtime.cells import Cells
from lehr.runtime.choices import bound, decode, encode, length, possible


def groups_of(n: int, m: int, groups: int, inner: int = 1) -> Cells:
    """Groups along the second-last axis, as `lehr.Mask` has them for a convolution."""
    return Cells((groups, 1, m, inner), (0, 1, 2, 3), n=n, along=2)


def test_by_hand():
    # the choices of 2 among 4, in order: 01 02 03 12 13 23; here numbers 0, 5, 1
    kept = np.array([1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0], dtype=bool)
    content = encode(kept, groups_of(2, 4, 3))
    assert content == (0 + 5 * 6 + 1 * 36).to_bytes(8, "little")
    assert decode(content, groups_of(2, 4, 3)).tolist() == [0, 1, 6, 7, 8, 10]


def test_a_word_holds_as_many_digits_as_fit():
    assert length(groups_of(2, 4, 24)) == 8  # 6 ** 24 < 2 ** 64 < 6 ** 25
    assert length(groups_of(2, 4, 25)) == 16
    assert length(groups_of(1, 2, 64)) == 8  # 2 ** 64 exactly
    assert length(groups_of(1, 2, 65)) == 16
    assert length(groups_of(1, 4, 32)) == 8  # 4 ** 32 exactly
    assert length(groups_of(8, 16, 4)) == 8
    assert length(groups_of(2, 4, 0)) == 0


def test_the_last_choices_of_a_full_word():
    last = np.tile([0, 0, 0, 1], 32).astype(bool)
    content = encode(last, groups_of(1, 4, 32))
    assert content == b"\xff" * 8
    assert decode(content, groups_of(1, 4, 32)).tolist() == list(range(3, 128, 4))


@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 70), st.sampled_from([1, 3]), st.integers(0, 99))
def test_what_was_coded_comes_back(n, extra, groups, inner, seed):
    cells = groups_of(n, n + extra, groups, inner)
    rng = np.random.default_rng(seed)
    order = rng.random((groups, inner, n + extra)).argsort(axis=-1)
    kept = np.moveaxis(order < n, -1, 1).reshape(-1)
    content = encode(kept, cells)
    assert len(content) == length(cells)
    assert decode(content, cells).tolist() == np.flatnonzero(kept).tolist()


def test_the_order_is_that_of_combinations():
    for number, chosen in enumerate(combinations(range(5), 3)):
        assert decode(number.to_bytes(8, "little"), groups_of(3, 5, 1)).tolist() == list(chosen)


def test_a_group_that_keeps_another_number_has_no_code():
    assert encode(np.array([1, 1, 1, 0], dtype=bool), groups_of(2, 4, 1)) is None
    assert encode(np.array([1, 0, 0, 0], dtype=bool), groups_of(2, 4, 1)) is None


def test_which_groups_have_a_table():
    assert possible(groups_of(2, 4, 1))
    assert possible(groups_of(8, 16, 1))
    assert possible(groups_of(1, 32, 1))
    assert not possible(groups_of(16, 32, 1))
    assert not possible(groups_of(1, 33, 1))


@pytest.mark.parametrize(
    ("number", "groups"),
    [(6, 1), (2**64 - 1, 1), (6**3, 3), (6**24, 24)],
)
def test_a_choice_that_does_not_exist_is_told(number, groups):
    with pytest.raises(LehrError, match="a group's choice does not exist"):
        decode(number.to_bytes(8, "little"), groups_of(2, 4, groups))


@given(st.binary(min_size=8, max_size=8), st.integers(1, 3), st.integers(0, 3))
def test_any_word_gives_n_of_every_m_or_one_sentence(word, n, extra):
    cells = groups_of(n, n + extra, 2)
    try:
        places = decode(word, cells)
    except LehrError:
        return
    assert np.bincount(places // (n + extra), minlength=2).tolist() == [n, n]
    kept = np.zeros(2 * (n + extra), dtype=bool)
    kept[places] = True
    assert encode(kept, cells) == word


def test_the_bound():
    assert bound(groups_of(2, 4, 1000)) == 1000 * log2(6)
    assert bound(groups_of(4, 4, 1000)) == 0
    cells = groups_of(2, 4, 2400)
    assert 8 * length(cells) < 1.04 * bound(cells)
