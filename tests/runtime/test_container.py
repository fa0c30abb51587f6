"""The outer file: named bytes behind a safetensors header, whole or refused."""

from __future__ import annotations

import json
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from lehr.base.errors import LehrError
from lehr.runtime.container import from_bytes, read, to_bytes
from tests.runtime.forged import with_header

PARTS = {"table": b"abc", "tensors": b""}
FILE = to_bytes({"model": "mlp"}, PARTS)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_by_hand():
    check = blake2b(b'{"model":"mlp"}\0table\x003\0abc\0tensors\x000\0', digest_size=16).hexdigest()
    told = '{\\"version\\":1,\\"check\\":\\"CHECK\\",\\"about\\":{\\"model\\":\\"mlp\\"}}'.replace("CHECK", check)
    header = (
        '{"__metadata__":{"lehr":"TOLD"},"table":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},'
        '"tensors":{"dtype":"U8","shape":[0],"data_offsets":[3,3]}}'
    ).replace("TOLD", told)
    header += " " * (-len(header) % 8)
    assert to_bytes({"model": "mlp"}, PARTS) == len(header).to_bytes(8, "little") + header.encode() + b"abc"


@given(st.dictionaries(st.text(), json_values, max_size=3), st.binary(max_size=50), st.binary(max_size=50))
def test_what_was_written_comes_back(about, first, second):
    back = from_bytes(to_bytes(about, {"table": first, "tensors": second}))
    assert back.about == about
    assert {name: bytes(part) for name, part in back.parts.items()} == {"table": first, "tensors": second}


def test_safetensors_reads_it_too(tmp_path):
    (tmp_path / "f").write_bytes(FILE)
    with safe_open(tmp_path / "f", framework="np") as file:
        assert {name: bytes(file.get_tensor(name)) for name in file.keys()} == PARTS  # noqa: SIM118 (not a dict)
        assert json.loads(file.metadata()["lehr"])["about"] == {"model": "mlp"}


def test_a_part_is_a_view_and_no_copy():
    assert from_bytes(FILE).parts["table"].obj is FILE


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'{\\"version\\":1', b'{\\"version\\":2', "has format 2 and this lehr reads format 1: install a newer lehr"),
        (b'{\\"version\\":1', b'{\\"version\\":1.0', "its version is '1.0'"),
        (b'{\\"version\\":1', b'{\\"version\\":true', "its version is 'True'"),
        (b'\\"version\\":1,', b"", "its version is 'None'"),
        (b"mlp", b"mlq", "its checksum does not match"),
        (b'\\"check\\":', b'\\"chuck\\":', "its check is 'None'"),
        (b'{\\"model\\":\\"mlp\\"}', b"[]", r"its about is '\[\]'"),
        (b'"lehr":', b'"lohr":', "its lehr is 'None'"),
        (b'"__metadata__"', b'"metadata"', "its __metadata__ is 'None'"),
        (b'{"__metadata__"', b'{"__metadata__', "its header is not JSON"),
        (b'{"__metadata__"', b'[{"__metadata__"', "its header is not JSON"),
        (b'"table":{"dtype":"U8"', b'"table":{"dtype":"F8"', "its part 'table' is not bytes"),
        (b'"table":{', b'"table":7,"x":{', "its part 'table' is not bytes"),
        (b"[0,3]", b"[0,4]", "its part 'table' lies outside of it"),
        (b"[0,3]", b"[1,3]", "its part 'table' lies outside of it"),
        (b"[0,3]", b"[0,-1]", "its part 'table' lies outside of it"),
        (b"[0,3]", b"[0,true]", "a part has no place"),
        (b"[0,3]", b"[0]", "a part has no place"),
        (b'"data_offsets":[0,3]', b'"x":0', "its data_offsets is 'None'"),
        (b"[3,3]", b"[2,3]", "its part 'tensors' lies outside of it"),
        (b"[3,3]", b"[3,99999999999999999999]", "its part 'tensors' lies outside of it"),
    ],
)
def test_a_header_that_is_not_right_is_told(old, new, message):
    with pytest.raises(LehrError, match=message):
        from_bytes(with_header(FILE, old, new))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no .lehr file"),
        (b"\0" * 7, "no .lehr file"),
        (b"\0" * 8, "its header is not JSON"),
        (b"\xff" * 20, "no .lehr file"),
        ((2**20 + 1).to_bytes(8, "little") + b" " * 2**21, "its header does not fit"),
        (FILE[:-1], "its part 'table' lies outside of it"),
        (FILE + b"x", "bytes are left over"),
        (b"\x02\0\0\0\0\0\0\0[]", "its header is not an object"),
        (b"\x04\0\0\0\0\0\0\0\xff\xfe\0\0", "its header is not JSON"),
    ],
)
def test_bytes_that_are_no_file_are_told(content, message):
    with pytest.raises(LehrError, match=message):
        from_bytes(content)


def test_a_name_is_part_of_the_check():
    other = with_header(FILE, b'"table"', b'"tbale"')
    with pytest.raises(LehrError, match="its checksum does not match"):
        from_bytes(other)


def test_a_path_is_named(tmp_path):
    (tmp_path / "cut.lehr").write_bytes(FILE[:100])
    with pytest.raises(LehrError, match=r"cut.lehr: the file is damaged"):
        read(tmp_path / "cut.lehr")
    with pytest.raises(LehrError, match=r"cannot read .*no.lehr \(No such file or directory\): give a file"):
        read(tmp_path / "no.lehr")
    with pytest.raises(LehrError, match=r"cannot read .* \(Is a directory\)"):
        read(tmp_path)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_a_number_that_is_no_json_is_told(number):
    refused(with_header(to_bytes({"a": 1}, PARTS), b'\\"a\\":1', b'\\"a\\":' + number))


@pytest.mark.parametrize("old", [b'"table"', b'"{\\"version'])
def test_half_a_character_is_told(old):
    refused(with_header(FILE, old, old[:1] + b"\\ud800" + old[1:]))


def test_a_header_that_no_reader_takes_is_not_written():
    with pytest.raises(LehrError):
        to_bytes({"classes": [f"class {i}" for i in range(100_000)]}, PARTS)


def refused(content: bytes) -> None:
    """That a file is refused with a `LehrError`, which other errors are not taken for."""
    try:
        from_bytes(content)
    except LehrError:
        return
    pytest.fail("it was read")
