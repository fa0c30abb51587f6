"""A whole file: what was packed is unpacked, and its bound is the sum of the tensors' bounds."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr.base.errors import LehrError
from lehr.runtime import container
from lehr.runtime.file import Contents, pack, read, unpack
from lehr.runtime.tensors import FREE, WEIGHTS_PER_BYTE, Stored
from tests.runtime.forged import file_of, same, same_tensors, sparse, thin

BIAS = Stored("bias", "F32", (3,), np.array([1, 2, 3], dtype=np.float32))
TIED = Stored("tied", "F32", (40,), thin([5, 6]).values, same="w")
TENSORS = {"w": thin([5, 6]), "bias": BIAS, "tied": TIED}


def test_the_parts_by_hand():
    packed = pack(Contents({"a": 1}, TENSORS, {"nodes": []}))
    parts = container.from_bytes(packed.content).parts
    assert list(parts) == ["table", "graph", "tensors"]
    assert json.loads(zlib.decompress(parts["table"])) == {
        "value": [
            sparse([40], 2, {"bits": 0, "quotients": 1, "count": 2}),
            {"name": "bias", "dtype": "F32", "shape": [3]},
            {"name": "tied", "same": "w"},
        ]
    }
    assert zlib.decompress(parts["graph"]) == b'{"value":{"nodes":[]}}'
    # gaps 5 and 0: 00000 1 1
    assert bytes(parts["tensors"]) == b"\x60" + np.array([1, 2, 1, 2, 3], dtype="<f4").tobytes()
    assert len(packed) == len(packed.content)
    assert packed.bound == pytest.approx((np.log2(40 * 39 / 2) + 8 * 20) / 8)


def test_what_was_packed_is_unpacked(tmp_path):
    packed = pack(Contents({"a": [1, "ü", None]}, TENSORS, {"nodes": [1]}))
    (tmp_path / "f.lehr").write_bytes(packed.content)
    for contents in (unpack(packed.content), read(tmp_path / "f.lehr")):
        assert contents.about == {"a": [1, "ü", None]}
        assert contents.graph == {"nodes": [1]}
        assert same(contents.tensors["w"], TENSORS["w"])
        assert same(contents.tensors["bias"], BIAS)
        assert contents.tensors["tied"].dense().tobytes() == TENSORS["w"].dense().tobytes()


@given(
    st.dictionaries(st.text(), st.tuples(st.sets(st.integers(0, 39)), st.integers(40, 50)), max_size=5),
    st.sampled_from([None, "F32", "F16", "BF16", "I8"]),
)
def test_any_names_and_masks_come_back(masks, code):
    tensors = {name: thin(sorted(places), size, name) for name, (places, size) in masks.items()}
    found = unpack(pack(Contents({}, tensors), code).content).tensors
    assert same_tensors(tensors, found) or code == "I8"
    assert [t.places.tolist() for t in found.values()] == [t.places.tolist() for t in tensors.values()]


def test_the_same_contents_are_the_same_bytes():
    assert pack(Contents({}, TENSORS)).content == pack(Contents({}, dict(TENSORS))).content


def test_a_text_that_deflates_too_well_is_left_as_it_is():
    graph = {"nodes": ["relu"] * 20_000}
    packed = pack(Contents({}, {}, graph))
    assert len(packed) > 100_000, "and no reader takes it for a bomb"
    assert unpack(packed.content).graph == graph


def test_a_table_of_many_tensors_comes_back():
    tensors = {f"layers.{i}.weight": thin([i % 40], name=f"layers.{i}.weight") for i in range(500)}
    packed = pack(Contents({}, tensors))
    assert same_tensors(unpack(packed.content).tensors, tensors)
    assert len(packed) < 15_000


def test_nearly_nothing_kept_of_very_much_is_told_on_writing():
    size = FREE + WEIGHTS_PER_BYTE * 1000
    nothing = Stored("w", "F32", (size,), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64))
    with pytest.raises(LehrError, match="nearly nothing is kept, lower the sparsity"):
        pack(Contents({}, {"w": nothing}))
    with pytest.raises(LehrError, match="nearly nothing is kept, lower the sparsity"):  # what is told holds no weights
        pack(Contents({"classes": [f"class {i}" for i in range(1000)]}, {"w": nothing}))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "it lacks a part"),
        ({"table": b""}, "it lacks a part"),
        ({"table": b"", "tensors": b"", "more": b""}, "it lacks a part"),
        ({"table": b"", "tensors": b""}, "its table is too large for it"),
        ({"table": b"text", "tensors": b""}, "its table is not compressed as it should be"),
        ({"table": zlib.compress(b"[]"), "tensors": b""}, "its table is not an object"),
        ({"table": zlib.compress(b"{}"), "tensors": b""}, "its value is 'None'"),
        ({"table": zlib.compress(b'{"value":{}}'), "tensors": b""}, "its value is '{}'"),
        ({"table": zlib.compress(b'{"value":[1]}'), "tensors": b""}, "its table is not a list of tensors"),
        ({"table": zlib.compress(b'{"value":[]}') + b"x", "tensors": b""}, "its table is too large for it"),
        ({"table": zlib.compress(b'{"value":[]}')[:-1], "tensors": b""}, "its table is too large for it"),
        ({"table": zlib.compress(b'{"value":[]}'), "tensors": b"x"}, "bytes are left over"),
        ({"table": zlib.compress(b'{"value":[]}'), "tensors": b"", "graph": zlib.compress(b'{"value":1}')}, "value"),
    ],
)
def test_parts_that_are_not_right_are_told(parts, message):
    with pytest.raises(LehrError, match=message):
        unpack(container.to_bytes({}, parts))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"name": "a"}, {"name": "a"}, "'a' is there twice"),
        ({"name": "a"}, {"name": "b", "same": "c"}, "'b' is said to be a tensor that does not come before it"),
        ({"name": "a", "same": "b"}, {"name": "b"}, "'a' is said to be a tensor that does not come before it"),
        ({"name": "a", "same": "a"}, {"name": "b"}, "'a' is said to be a tensor that does not come before it"),
        ({"name": "a"}, {"name": "b", "same": ["a"]}, "its same is"),
        ({"name": "a"}, {"name": 5}, "its name is '5'"),
        ({"name": "a"}, {"name": "b\ud800"}, "a tensor is called"),
        (
            {"name": "graph:a"},
            {"name": "b", "same": "graph:a"},
            "'b' is said to be a tensor that does not come before it",
        ),
    ],
)
def test_names_that_do_not_agree_are_told(first, second, message):
    empty = {"dtype": "F32", "shape": [0]}
    entries = [one if "same" in one else one | empty for one in (first, second)]
    with pytest.raises(LehrError, match=message):
        unpack(file_of(entries))
