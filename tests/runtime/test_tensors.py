"""One tensor as a line of the table and bytes, and back."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from math import comb, log2, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr.base.errors import LehrError
from lehr.runtime.cells import Cells
from lehr.runtime.tensors import Stored, decode, encode
from lehr.runtime.values import DTYPES, FLOATS, to_float32, width
from tests.runtime.forged import same, thin

FILTERS = Cells((4, 3), (0,))
TWO_OF_FOUR = Cells((2, 1, 4, 1), (0, 1, 2, 3), n=2, along=2)

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


def back(tensor: Stored, code: str | None = None) -> Stored:
    """The tensor coded and decoded, with bytes of a next one behind its own."""
    coded = encode(tensor, code)
    found, used = decode(coded.entry, coded.content + b"next", {})
    assert used == len(coded.content)
    return found


def numbers(rng: np.random.Generator, dtype: str, count: int) -> np.ndarray:
    """Any bits at all, but for truth values."""
    if dtype == "BOOL":
        return rng.random(count) < 0.5
    return np.frombuffer(rng.bytes(count * width(dtype)), dtype=DTYPES[dtype])


def test_a_dense_tensor_by_hand():
    coded = encode(Stored("b", "BF16", (2,), np.array([0x3F80, 0xC000], dtype=np.uint16)))
    assert coded.entry == {"name": "b", "dtype": "BF16", "shape": [2]}
    assert coded.content == b"\x80\x3f\x00\xc0"
    assert coded.bound == 32


def test_a_sparse_tensor_by_hand():
    # gaps 3 and 5: 000 1 00000 1, from the lowest bit
    coded = encode(Stored("w", "F32", (2, 8), np.array([1.5, 2.0], dtype=np.float32), np.array([3, 9])))
    assert coded.entry == {
        "name": "w", "dtype": "F32", "shape": [2, 8], "kept": 2, "code": "F32",
        "places": {"bits": 0, "quotients": 2, "count": 2},
    }  # fmt: skip
    assert coded.content == b"\x08\x02" + b"\x00\x00\xc0\x3f" + b"\x00\x00\x00\x40"
    assert coded.bound == pytest.approx(log2(16 * 15 / 2) + 64)


def test_more_kept_than_not_codes_what_is_not():
    tensor = thin([0, 1, 3, 4], size=5)
    coded = encode(tensor)
    assert coded.entry["places"] == {"bits": 0, "quotients": 1, "count": 4}
    assert coded.content[:1] == b"\x04"  # 2 is absent: 00 1
    assert same(back(tensor), tensor)


def test_half_kept_codes_what_is():
    coded = encode(thin([0, 3], size=4))
    assert coded.entry["places"] == {"bits": 0, "quotients": 1, "count": 2}
    assert coded.content[:1] == b"\x09"  # gaps 0 and 2: 1 00 1


def test_filters_are_coded_as_one_place_each():
    values = np.arange(6, dtype=np.float32)
    tensor = Stored("w", "F32", (4, 3), values, np.array([0, 1, 2, 9, 10, 11]), "filter", FILTERS)
    coded = encode(tensor)
    assert coded.entry["granularity"] == "filter"
    cells = {"dims": [4, 3], "axes": [0]}
    assert coded.entry["places"] == {"cells": cells, "bits": 0, "quotients": 1, "count": 2}
    assert coded.content == b"\x09" + values.tobytes()
    assert coded.bound == pytest.approx(log2(6) + 8 * 24)
    assert same(back(tensor), tensor)


def test_filters_kept_in_part_are_coded_weight_by_weight():
    tensor = Stored("w", "F32", (4, 3), np.ones(2, dtype=np.float32), np.array([0, 4]), "filter", FILTERS)
    assert "cells" not in encode(tensor).entry["places"]
    assert same(back(tensor), tensor)


def test_two_of_four_by_hand():
    places = np.array([0, 1, 6, 7])  # the choices 0 and 5 of six
    tensor = Stored("w", "F16", (2, 4), np.ones(4, dtype=np.float16), places, "2:4", TWO_OF_FOUR)
    coded = encode(tensor)
    assert coded.entry["places"] == {"cells": {"dims": [2, 1, 4, 1], "along": 2, "n": 2}}
    assert coded.content == (5 * 6).to_bytes(8, "little") + b"\x00\x3c" * 4
    assert coded.bound == pytest.approx(2 * log2(6) + 64)
    assert same(back(tensor), tensor)


def test_groups_without_a_table_or_not_full_are_coded_weight_by_weight():
    many = Cells((1, 1, 40, 1), (0, 1, 2, 3), n=20, along=2)
    tensor = Stored("w", "F32", (1, 40), np.ones(20, dtype=np.float32), np.arange(0, 40, 2), "20:40", many)
    short = Stored("w", "F32", (2, 4), np.ones(1, dtype=np.float32), np.array([3]), "2:4", TWO_OF_FOUR)
    for one in (tensor, short):
        assert "cells" not in encode(one).entry["places"]
        assert same(back(one), one)


def test_int8_by_hand():
    # rows that keep nothing have no scale; s = 1 and 2 are 0x3F80 and 0x4000
    tensor = Stored("w", "F32", (3, 2), np.array([127, -1, 254], dtype=np.float32), np.array([0, 1, 4]))
    coded = encode(tensor, "I8")
    assert coded.content == b"\x13" + b"\x80\x3f\x00\x40" + b"\x7f\xff\x7f"  # gaps 0, 0, 2: 1 1 00 1
    assert coded.entry["code"] == "I8"
    assert same(back(tensor, "I8"), tensor)


def test_a_vector_has_one_scale():
    coded = encode(thin([0, 20]), "I8")
    assert len(coded.content) == encode(thin([0, 20])).entry["places"]["quotients"] + 1 + 2 + 2


def test_a_tied_tensor_is_a_name():
    first = thin([3], name="first")
    tied = Stored("second", first.dtype, first.shape, first.values, same="first")
    coded = encode(tied)
    assert (coded.entry, coded.content, coded.bound) == ({"name": "second", "same": "first"}, b"", 0)
    found, used = decode(coded.entry, b"next", {"first": first})
    assert (found.same, found.name, used) == ("first", "second", 0)
    assert found.dense().tobytes() == first.dense().tobytes()
    third, _ = decode({"name": "third", "same": "second"}, b"", {"first": first, "second": found})
    assert third.same == "first"


@given(shapes, st.sampled_from(sorted(DTYPES)), st.integers(0, 99))
def test_dense_tensors_come_back(shape, dtype, seed):
    tensor = Stored("w", dtype, shape, numbers(np.random.default_rng(seed), dtype, prod(shape)))
    found = back(tensor)
    assert same(found, tensor)
    assert found.dense().shape == shape


@given(shapes, st.sampled_from(FLOATS), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.integers(0, 99))
def test_sparse_tensors_come_back(shape, dtype, density, seed):
    rng = np.random.default_rng(seed)
    places = np.flatnonzero(rng.random(prod(shape)) < density)
    tensor = Stored("w", dtype, shape, numbers(rng, dtype, len(places)), places)
    found = back(tensor)
    assert same(found, tensor)
    dense = found.dense().reshape(-1)
    assert dense[places].tobytes() == tensor.values.tobytes()
    assert not np.delete(dense, places).view(np.uint8).any()


@given(
    st.sampled_from([("filter", Cells((4, 6), (0,))), ("block:2x3", Cells((2, 2, 2, 3), (0, 2)))]),
    st.sampled_from([0.0, 0.3, 0.6, 1.0]),
    st.sampled_from(["F32", "I8"]),
    st.integers(0, 99),
)
def test_cells_come_back(kind, density, code, seed):
    granularity, cells = kind
    rng = np.random.default_rng(seed)
    places = cells.weights(np.flatnonzero(rng.random(cells.count) < density))
    values = rng.integers(-127, 128, len(places)).astype(np.float32)
    tensor = Stored("w", "F32", (4, 6), values, places, granularity, cells)
    assert encode(tensor, code).entry["places"]["cells"] == cells.entry()
    found = back(tensor, code)
    assert found.places.tolist() == places.tolist()
    assert found.granularity == granularity
    assert code == "I8" or same(found, tensor)


@given(st.sampled_from(["F32", "F16", "BF16"]), st.integers(0, 99))
def test_int8_errs_by_half_a_step_whatever_the_dtype(dtype, seed):
    rng = np.random.default_rng(seed)
    places = np.flatnonzero(rng.random(40) < 0.5)
    values = rng.standard_normal(len(places)).astype(np.float32)
    values = (values.view(np.uint32) >> 16).astype(np.uint16) if dtype == "BF16" else values.astype(DTYPES[dtype])
    tensor = Stored("w", dtype, (4, 10), values, places)
    found, exact = to_float32(back(tensor, "I8").values, dtype), to_float32(values, dtype)
    for row in set(places // 10):
        here = places // 10 == row
        step = 1.01 * np.abs(exact[here]).max() / 127
        last_bit = {"F32": 0, "F16": 2**-11, "BF16": 2**-8}[dtype] * np.abs(exact[here]).max()
        assert np.abs(found[here] - exact[here]).max() <= 0.5 * step + last_bit


def test_a_value_too_large_for_its_code_is_told():
    tensor = Stored("w", "F32", (2,), np.array([1e6], dtype=np.float32), np.array([1]))
    with pytest.raises(LehrError, match="a weight is too large for F16: choose other values, such as bf16 or fp32"):
        encode(tensor, "F16")


@pytest.mark.parametrize(("dtype", "largest"), [("F16", 65504.0), ("BF16", 0x7F7F)])
def test_int8_of_the_largest_number_can_be_read(dtype, largest):
    found = back(Stored("w", dtype, (1, 2), np.array([largest], dtype=DTYPES[dtype]), np.array([0])), "I8")
    assert np.isfinite(to_float32(found.values, dtype)).all()


def test_int8_of_a_double_beyond_singles_is_one_sentence():
    try:
        encode(Stored("w", "F64", (1, 2), np.array([1e300]), np.array([0])), "I8")
    except LehrError:
        return
    pytest.fail("it was coded")


# -- parts of a partition -----------------------------------------------------------------------------------


def parts_of(labels: np.ndarray, cells: Cells | None = None, granularity: str = "unstructured") -> list[Stored]:
    """A tensor for each label, told by those before it."""
    found: list[Stored] = []
    for part in range(int(labels.max()) + 1):
        places = np.flatnonzero(labels == part)
        values = np.arange(1, len(places) + 1, dtype=np.float32)
        outside = tuple(one.name for one in found)
        found.append(Stored(f"{part}/w", "F32", (len(labels),), values, places, granularity, cells, outside=outside))
    return found


@given(seed=st.integers(0, 99), parts=st.integers(2, 6), size=st.integers(6, 300))
def test_parts_come_back_and_cost_the_entropy_of_the_labels(seed, parts, size):
    labels = np.random.default_rng(seed).permutation(np.arange(size) % parts)
    known: dict[str, Stored] = {}
    bound = 0.0
    for tensor in parts_of(labels):
        coded = encode(tensor, None, known)
        bound += coded.bound - 32 * len(tensor.places)
        found, used = decode(coded.entry, coded.content + b"next", known)
        assert used == len(coded.content)
        assert found.places.tolist() == tensor.places.tolist()
        assert found.dense().tolist() == tensor.dense().tolist()
        known[tensor.name] = tensor
    counts = np.bincount(labels)
    choices = 1
    for count, left in zip(counts, np.cumsum(counts[::-1])[::-1], strict=True):
        choices *= comb(int(left), int(count))
    assert bound == pytest.approx(log2(choices), abs=1e-3)


def test_the_last_part_costs_nothing():
    last = parts_of(np.arange(40) % 2)[1]
    coded = encode(last, None, {"0/w": parts_of(np.arange(40) % 2)[0]})
    assert len(coded.content) == 4 * 20


def test_parts_of_filters_are_told_by_filters():
    labels = np.repeat([0, 1, 1, 2], 3)
    known: dict[str, Stored] = {}
    for tensor in parts_of(labels, Cells((4, 3), (0,)), "filter"):
        coded = encode(tensor, None, known)
        assert coded.entry["places"]["cells"] == {"dims": [4, 3], "axes": [0]}
        found, _ = decode(coded.entry, coded.content, known)
        assert found.places.tolist() == tensor.places.tolist()
        known[tensor.name] = tensor


def test_a_part_in_the_place_of_another_is_refused():
    first = thin([1, 2], name="first")
    with pytest.raises(LehrError, match="second has weights in the places of first"):
        encode(replace(thin([2, 5], name="second"), outside=("first",)), None, {"first": first})


@pytest.mark.parametrize(
    ("outside", "message"),
    [
        (["nobody"], "'nobody', which is no sparse tensor of its size before it"),
        (["dense"], "'dense', which is no sparse"),
        (["small"], "'small', which is no sparse"),
        (["first"] * 30, "have more weights than it"),
        ([3], "is outside of what has no name"),
        ("first", "outside"),
    ],
)
def test_a_file_that_lies_about_parts_is_refused(outside, message):
    first = thin(list(range(20)), name="first")
    known = {
        "first": first,
        "dense": Stored("dense", "F32", (40,), np.zeros(40, dtype=np.float32)),
        "small": thin([1], size=20, name="small"),
    }
    coded = encode(replace(thin([25, 30], name="w"), outside=("first",)), None, known)
    entry = {**coded.entry, "places": {**coded.entry["places"], "outside": outside}}
    with pytest.raises(LehrError, match=message):
        decode(entry, coded.content, known)


@pytest.mark.parametrize("cells", [None, Cells((10, 4), (0,))], ids=["weights", "rows"])
def test_places_that_an_earlier_tensor_has_take_no_bytes(cells):
    places = list(range(4, 12)) if cells else [1, 7, 30]
    first = replace(thin(places, size=40, name="first"), cells=cells)
    own = replace(first, name="w", values=first.values + 1, alike="first")
    coded = encode(own, None, {"first": first})
    assert (coded.entry["places"], len(coded.content), coded.bound) == (
        {"alike": "first"},
        4 * len(places),
        32.0 * len(places),
    )
    found, used = decode(coded.entry, coded.content, {"first": first})
    assert used == len(coded.content)
    assert found.places.tolist() == places
    assert (found.cells, found.alike, found.values.tolist()) == (cells, "first", own.values.tolist())


def test_other_places_are_not_called_alike():
    first, other = thin([1, 2], name="first"), thin([1, 3], name="other")
    with pytest.raises(LehrError, match="other has other places than first"):
        encode(replace(other, alike="first"), None, {"first": first})
    with pytest.raises(LehrError, match="other has other places than nobody"):
        encode(replace(other, alike="nobody"), None, {"first": first})


@pytest.mark.parametrize(
    ("alike", "message"),
    [
        ("nobody", "the places of 'nobody', which is no sparse tensor of its shape before it"),
        ("dense", "the places of 'dense'"), ("small", "the places of 'small'"), ("more", "the places of 'more'"), (3, "alike"),
    ],
)  # fmt: skip
def test_a_file_that_lies_about_equal_places_is_refused(alike, message):
    first = thin([25, 30], name="first")
    known = {
        "first": first, "more": thin([1, 2, 3], name="more"), "small": thin([1, 2], size=20, name="small"),
        "dense": Stored("dense", "F32", (40,), np.zeros(40, dtype=np.float32)),
    }  # fmt: skip
    coded = encode(replace(first, name="w", alike="first"), None, known)
    with pytest.raises(LehrError, match=message):
        decode({**coded.entry, "places": {"alike": alike}}, coded.content, known)


def test_what_is_left_by_others_is_found_in_memory_of_what_is_kept():
    size = 30_000_000
    first = thin([5], size=size, name="first")
    tensor = replace(thin([3, size - 1], size=size, name="w"), outside=("first",))
    coded = encode(tensor, None, {"first": first})
    tracemalloc.start()
    found, _ = decode(coded.entry, coded.content, {"first": first})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.places.tolist() == [3, size - 1]
    assert peak < 1e6
