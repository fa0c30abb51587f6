"""The code of a mask: exact, near the bound, and not to be fooled."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr.base.errors import LehrError
from lehr.runtime.positions import Coded, bound, decode, encode

masks = st.lists(st.booleans(), max_size=300).map(lambda bits: np.array(bits, dtype=bool))


@given(masks)
def test_what_was_coded_comes_back(mask):
    places = np.flatnonzero(mask)
    assert decode(encode(places), len(places), len(mask)).tolist() == places.tolist()


def test_by_hand():
    coded = encode(np.array([0, 1, 2]))  # gaps 0: three 1 bits
    assert (coded.content.tolist(), coded.quotients, coded.bits) == ([7], 1, 0)
    coded = encode(np.array([100]))  # 16 bits whatever the parameter from 4 on: six 0 bits and a 1, and 100 % 16
    assert (coded.content.tolist(), coded.quotients, coded.bits) == ([64, 4], 1, 4)
    assert len(encode(np.array([], dtype=np.int64)).content) == 0


@pytest.mark.parametrize("sparsity", [0.5, 0.9, 0.95, 0.98, 0.99, 0.999])
def test_random_masks_are_near_the_bound(sparsity):
    size = 400_000
    places = np.flatnonzero(np.random.default_rng(0).random(size) >= sparsity)
    bits = 8 * len(encode(places).content)
    assert bits <= 1.05 * bound(size, len(places))
    if sparsity >= 0.9:
        assert bits <= 1.02 * bound(size, len(places))


def test_the_bound():
    assert bound(1000, 100) == pytest.approx(math.log2(math.comb(1000, 100)))
    assert bound(7, 7) == 0.0
    with pytest.raises(LehrError, match="8 places are more than 7"):
        bound(7, 8)


@given(st.binary(max_size=60), st.integers(-2, 70), st.integers(-2, 40), st.integers(-2, 500), st.integers(0, 2000))
def test_any_bytes_give_places_or_one_sentence(content, quotients, bits, count, size):
    coded = Coded(np.frombuffer(content, dtype=np.uint8), quotients, bits)
    try:
        places = decode(coded, count, size)
    except LehrError as error:
        assert "the coded mask is damaged" in str(error)  # noqa: PT017 (any outcome but these two is a failure)
    else:
        assert len(places) == count
        assert (np.diff(places) > 0).all()
        assert count == 0 or (places[0] >= 0 and places[-1] < size)


def test_places_must_increase():
    for wrong in ([3, 3], [2, 1], [-1]):
        with pytest.raises(LehrError, match="do not increase"):
            encode(np.array(wrong))
