"""Files that lie: one sentence or a value that is right, in little memory and time, whatever the bytes."""

from __future__ import annotations

import copy
import json
import random
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lehr.base.errors import LehrError
from lehr.runtime.file import Contents, pack, read, unpack
from tests.runtime.forged import entries_of, file_of, sparse, thin

CORPUS = Path(__file__).parent / "corpus"
VERSION1 = (Path(__file__).parent / "files" / "version1.lehr").read_bytes()
SMALL = pack(Contents({}, {"w": thin([5, 6, 30])})).content
ENTRIES, TENSORS = entries_of(VERSION1)


def told(content: bytes) -> str | None:
    """What is said about a file; None where it is read, and what is read is then sound."""
    tracemalloc.start()
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            contents = unpack(content)
    except LehrError as error:
        return one_sentence(str(error))
    else:
        sound(contents)
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 300 * len(content) + 50e6, f"{peak / 1e6:.0f} MB for {len(content):,} bytes"
        assert time.monotonic() - start < 20


def one_sentence(text: str) -> str:
    assert "\n" not in text
    assert 20 < len(text) < 5000
    return text


def sound(contents: Contents) -> None:
    for tensor in contents.tensors.values():
        assert tensor.values.ndim == 1
        if tensor.places is None:
            assert len(tensor.values) == tensor.size
            continue
        assert len(tensor.values) == len(tensor.places)
        assert (np.diff(tensor.places) > 0).all()
        assert len(tensor.places) == 0 or (tensor.places[0] >= 0 and tensor.places[-1] < tensor.size)


def test_every_truncation():
    for end in range(len(VERSION1)):
        with pytest.raises(LehrError, match="the file is damaged"):
            unpack(VERSION1[:end])


def test_every_byte_with_a_bit_flipped():
    for place in range(len(SMALL)):
        for bit in range(8):
            flipped = bytearray(SMALL)
            flipped[place] ^= 1 << bit
            try:
                assert unpack(bytes(flipped)).about == {}, "only spaces and what the file does not use may change"
            except LehrError:
                continue
            assert unpack(bytes(flipped)).tensors["w"].places.tolist() == [5, 6, 30]


def test_bits_of_tensors_flipped_under_a_right_checksum():
    rng = random.Random(0)
    for place in range(0, len(TENSORS), 4):
        flipped = bytearray(TENSORS)
        flipped[place] ^= 1 << rng.randrange(8)
        told(file_of(ENTRIES, bytes(flipped)))


def test_bytes_of_tensors_cut_or_added_under_a_right_checksum():
    for end in range(0, len(TENSORS), 7):
        assert told(file_of(ENTRIES, TENSORS[:end])) is not None
    assert "bytes are left over" in told(file_of(ENTRIES, TENSORS + b"x"))


PLACE = {"count": 1, "bits": 0, "quotients": 1}  # of one weight at 0: the byte 1
FOUR = {"dims": [2, 1, 4, 1], "along": 2, "n": 2}

LIES = {
    "no name": ({"dtype": "F32", "shape": [1]}, "its name is 'None'"),
    "no dtype": ({"name": "w", "shape": [1]}, "its dtype is 'None'"),
    "no shape": ({"name": "w", "dtype": "F32"}, "its shape is 'None'"),
    "an unknown dtype": ({"name": "w", "dtype": "F8", "shape": [1]}, "there is no dtype 'F8'"),
    "a negative size": ({"name": "w", "dtype": "F32", "shape": [-1]}, "its shape is"),
    "a fraction of a size": ({"name": "w", "dtype": "F32", "shape": [1.0]}, "its shape is"),
    "a truth as a size": ({"name": "w", "dtype": "F32", "shape": [True]}, "its shape is"),
    "2 ** 50 weights": ({"name": "w", "dtype": "F32", "shape": [2**25, 2**25]}, "its shape is"),
    "2 ** 40 weights": ({"name": "w", "dtype": "F32", "shape": [2**40]}, "cannot hold a network of"),
    "2 ** 40 of which none": (sparse([2**40], 0, {"count": 0, "bits": 0, "quotients": 0}), "cannot hold a network of"),
    "sixty-four bits": ({"name": "w", "dtype": "F32", "shape": [2**32, 2**32]}, "its shape is"),
    "many dimensions": ({"name": "w", "dtype": "F32", "shape": [1] * 17}, "its shape is"),
    "larger than the file": ({"name": "w", "dtype": "F32", "shape": [1000]}, "'w' is larger than the file"),
    "a text as kept": (sparse([4], "1", PLACE), "its kept is '1'"),
    "a truth as kept": (sparse([4], True, PLACE), "its kept is 'True'"),
    "NaN as kept": (sparse([4], float("nan"), PLACE), "the file is damaged"),
    "negative kept": (sparse([4], -1, PLACE), "'w' keeps -1 weights"),
    "more kept than there are": (sparse([4], 5, PLACE), "'w' keeps 5 weights"),
    "more kept than bytes": (sparse([4000], 1000, PLACE), "'w' keeps 1000 weights"),
    "kept of whole numbers": (sparse([4], 1, PLACE, dtype="I32"), "'w' has values in 'F32'"),
    "an unknown code": (sparse([4], 1, PLACE, code="I64"), "'w' has values in 'I64'"),
    "no places": (sparse([4], 1, None), "its places is 'None'"),
    "no count": (sparse([4], 1, {"bits": 0, "quotients": 1}), "its count is 'None'"),
    "another count": (sparse([4], 1, PLACE | {"count": 2}), "2 cells are not 1 weights"),
    "negative bits": (sparse([4], 1, PLACE | {"bits": -1}), "a remainder has -1 bits"),
    "many bits": (sparse([4], 1, PLACE | {"bits": 32}), "a remainder has 32 bits"),
    "huge bits": (sparse([4], 1, PLACE | {"bits": 10**30}), "a remainder has 1000"),
    "no quotients": (sparse([4], 1, PLACE | {"quotients": 0}), "1 places do not fit into 0 bytes"),
    "negative quotients": (sparse([4], 1, PLACE | {"quotients": -1}), "a remainder has 0 bits"),
    "huge quotients": (sparse([4], 1, PLACE | {"quotients": 2**63}), "its places are larger than the file"),
    "a fraction of quotients": (sparse([4], 1, PLACE | {"quotients": 1.0}), "its quotients is '1.0'"),
    "a place outside": (sparse([4], 1, {"count": 1, "bits": 8, "quotients": 1}), "a place lies outside the tensor"),
    "dims of another size": (sparse([4], 1, PLACE | {"cells": {"dims": [5], "axes": [0]}}), "are not 4 weights"),
    "no dims": (sparse([4], 1, PLACE | {"cells": {"axes": [0]}}), "its dims is 'None'"),
    "cells of another size": (sparse([4], 1, PLACE | {"cells": {"dims": [2, 2], "axes": [0]}}), "1 cells are not 1 w"),
    "n of nothing": (sparse([8], 4, {"cells": FOUR | {"n": 0}}), "it keeps 0 along 2"),
    "n above m": (sparse([8], 4, {"cells": FOUR | {"n": 5}}), "it keeps 5 along 2"),
    "another n": (sparse([8], 4, {"cells": FOUR | {"n": 3}}), "4 weights are not N of every M"),
    "along no axis": (sparse([8], 4, {"cells": FOUR | {"along": 4}}), "along 4"),
    "along a text": (sparse([8], 4, {"cells": FOUR | {"along": "2"}}), "its along is '2'"),
    "too many choices": (
        sparse([40], 20, {"cells": {"dims": [40], "along": 0, "n": 20}}, code="I8"),
        "20 weights are not N of every M",
    ),
    "a choice that does not exist": (sparse([8], 4, {"cells": FOUR}, code="I8"), "a group's choice does not exist"),
    "a list as the granularity": (sparse([4], 1, PLACE, granularity=["filter"]), "its granularity is"),
}

BYTES = b"\x01" + b"\xff" * 40


@pytest.mark.parametrize("name", LIES)
def test_a_line_that_lies_is_told(name):
    entry, message = LIES[name]
    assert message in told(file_of([entry], BYTES))


def test_the_lies_are_told_from_the_truth():
    assert told(file_of([sparse([4], 1, PLACE)], b"\x01\0\0\0\0")) is None
    assert told(file_of([sparse([8], 4, {"cells": FOUR}, code="I8")], b"\x23" + bytes(7 + 2 + 4))) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"value":' + b"[" * 4000,
        b'{"value":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"value":[{"name":' + b"[" * 900 + b"]" * 900 + b"}]}",
        b'{"value":[{"name":"w","dtype":"F32","shape":[' + b"9" * 5000 + b"]}]}",
        b'{"value":[{"name":"w","dtype":"F32","shape":[' + b"9" * 4000 + b"]}]}",
        b'{"value":[{"name":"w","dtype":"F32","shape":[1e999]}]}',
        b'{"value":[{"name":"w","dtype":"F32","shape":[NaN]}]}',
        b'{"value":"\xff"}',
    ],
)
def test_a_table_of_no_or_strange_json_is_told(text):
    assert "the file is damaged" in told(file_of(text, BYTES))


def test_what_unpacks_to_very_much_is_not_unpacked():
    bomb = file_of(b'{"value":[' + b" " * 20_000_000 + b"]}")
    assert len(bomb) < 25_000
    assert "its table is too large for it" in told(bomb)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.lehr")), ids=lambda path: path.stem)
def test_a_file_of_the_corpus_is_told(path, request):
    assert path.stat().st_size < 2048
    assert f"`{path.name}`" in (CORPUS / "README.md").read_text(encoding="utf-8")
    told(path.read_bytes())  # bounds its memory
    try:
        for tensor in read(path).tensors.values():
            tensor.dense()
    except LehrError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 (any outcome but this one is a failure)
    else:
        pytest.fail("it was read")


def test_a_table_of_empty_lines_takes_little_memory():
    filler = "".join(
        random.Random(0).choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", k=80_000)
    )
    text = f'{{"filler":"{filler}","value":[{",".join(["{}"] * 1_300_000)}]}}'
    told(file_of(text.encode()))


@pytest.mark.parametrize(
    "entry",
    [
        sparse([4], 10**1000, PLACE),
        sparse([4], 1, PLACE | {"bits": 10**1000}),
        sparse([4], 1, PLACE | {"count": 10**1000}),
        sparse([4], 1, PLACE | {"cells": {"dims": [4], "axes": ["a" * 1000]}}),
        sparse([4], 1, PLACE | {"cells": {"dims": [4], "n": 10**1000, "along": 0}}),
    ],
)
def test_a_sentence_is_short_whatever_the_file_says(entry):
    assert len(told(file_of([entry], BYTES))) < 200


@pytest.mark.parametrize(
    ("entry", "content"),
    [
        (sparse([2, 2], 1, PLACE, code="I8"), b"\x01" + b"\x80\x7f" + b"\0"),  # a scale that is inf, times 0
        (sparse([2, 2], 1, PLACE, code="F64"), b"\x01" + (0x7FF0000000000001).to_bytes(8, "little")),
    ],
)
def test_strange_numbers_pass_without_a_warning(entry, content):
    unpack(file_of([entry], content))


# -- any table ----------------------------------------------------------------------------------------------

NUMBERS = [
    -1,
    0,
    1,
    2,
    7,
    255,
    2**20,
    2**31,
    2**40,
    2**50,
    2**63,
    2**64,
    10**30,
    0.5,
    1e300,
    float("nan"),
    float("inf"),
]
WORDS = ["", "w", "sparse", "F32", "F64", "BF16", "I8", "I64", "BOOL", "filter", "2:4", "\ud800", "w" * 1000]
GONE = "-- taken out --"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(NUMBERS) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=2),
    max_leaves=4,
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places in a table at which something may be put."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from leaves(one, (*path, key))


def put(table: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The table with something else at a place; at a place that has gone nothing."""
    table = copy.deepcopy(table)
    holder = table
    try:
        for key in path[:-1]:
            holder = holder[key]
        if value == GONE:
            del holder[path[-1]]
        else:
            holder[path[-1]] = value
    except (TypeError, KeyError, IndexError):
        pass
    return table


def at(table: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        table = table[key]
    return table


PATHS = sorted(leaves(ENTRIES), key=str)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PATHS), st.just(GONE) | anything)
def test_any_table_gives_values_or_one_sentence(path, value):
    told(file_of(put(ENTRIES, path, value), TENSORS))


@pytest.mark.long
def test_any_table_for_a_minute():
    rng = random.Random(time.time_ns())
    values = [GONE, None, True, False, [], {}, [[]], *NUMBERS, *WORDS]
    end = time.monotonic() + 60
    while time.monotonic() < end:
        table = ENTRIES
        for _ in range(rng.randint(1, 3)):
            value = rng.choice([rng.choice(values), rng.randint(-3, 50), at(ENTRIES, rng.choice(PATHS))])
            table = put(table, rng.choice(PATHS), value)
        content = file_of(table, TENSORS)
        try:
            told(content)
        except Exception:
            print(json.dumps(table))
            raise
