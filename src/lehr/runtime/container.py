"""A safetensors file of named bytes, read and written with NumPy alone.

Eight bytes hold the length n of the header (little-endian), n bytes the header, JSON: for each name ``dtype`` (here always
``U8``), ``shape`` ``[length]`` and ``data_offsets`` ``[begin, end]``, counted from the end of the header; then the
bytes, one name after the other with nothing between. ``__metadata__`` is ``{"lehr": TEXT}``, and TEXT is JSON: ``version``,
``check`` (BLAKE2b of 16 bytes, hexadecimal, over the text of ``about``, the names and the bytes), and ``about``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError, require
from lehr.runtime.checked import damaged, ensure, field, json_of

VERSION = 1
HEADER = 2**20  # bytes of a header at most; ours have a few hundred


@dataclass(frozen=True)
class Container:
    """What a file says about itself (JSON), and its bytes by name."""

    about: Mapping[str, Any]
    parts: Mapping[str, memoryview]


def to_bytes(about: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """The file.

    >>> content = to_bytes({"model": "mlp"}, {"table": b"abc"})
    >>> from_bytes(content).about, bytes(from_bytes(content).parts["table"])
    ({'model': 'mlp'}, b'abc')
    """
    told = {"version": VERSION, "check": _check(about, parts), "about": about}
    header: dict[str, Any] = {"__metadata__": {"lehr": _json(told)}}
    end = 0
    for name, part in parts.items():
        header[name] = {"dtype": "U8", "shape": [len(part)], "data_offsets": [end, end + len(part)]}
        end += len(part)
    text = _json(header).encode()
    text += b" " * (-len(text) % 8)
    require(
        len(text) <= HEADER, f"what the file says about itself has {len(text):,} bytes: give fewer classes, say less"
    )
    return b"".join([len(text).to_bytes(8, "little"), text, *parts.values()])


def from_bytes(content: bytes) -> Container:
    """The parts of a file, whole and unchanged; memory in proportion to what is there.

    Raises:
        LehrError: it is no such file, of a later version, cut short, or altered.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(HEADER, len(content) - 8):
        damaged("its header does not fit into it, or it is no .lehr file")
    header = json_of(content[8 : 8 + length], "header")
    told = json_of(field(field(header, "__metadata__", dict), "lehr", str).encode(errors="replace"), "description")
    version = field(told, "version", int)
    if version != VERSION:
        raise LehrError(f"the file has format {version} and this lehr reads format {VERSION}: install a newer lehr")
    data = memoryview(content)[8 + length :]
    parts: dict[str, memoryview] = {}
    end = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        ensure(isinstance(entry, dict) and entry.get("dtype") == "U8", f"its part {name[:40]!r} is not bytes")
        offsets = field(entry, "data_offsets", list)
        ensure(len(offsets) == 2 and all(type(place) is int for place in offsets), "a part has no place")
        ensure(offsets[0] == end and end <= offsets[1] <= len(data), f"its part {name[:40]!r} lies outside of it")
        end = offsets[1]
        parts[name] = data[offsets[0] : end]
    ensure(end == len(data), "bytes are left over")
    about = field(told, "about", dict)
    try:
        check = _check(about, parts)
    except ValueError:  # numbers and letters that JSON does not have
        damaged("its description is not JSON")
    ensure(field(told, "check", str) == check, "its checksum does not match")
    return Container(about, parts)


def read(path: str | Path) -> Container:
    """The parts of the file at a path; raises as `from_bytes`, with the path."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LehrError(f"cannot read {path} ({error.strerror or error}): give a file that lehr pack wrote") from None
    try:
        return from_bytes(content)
    except LehrError as error:
        raise LehrError(f"{path}: {error}") from None


def _check(about: Mapping[str, Any], parts: Mapping[str, bytes | memoryview]) -> str:
    state = blake2b(_json(about).encode(), digest_size=16)
    for name, part in parts.items():
        state.update(f"\0{name}\0{len(part)}\0".encode())
        state.update(part)
    return state.hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
