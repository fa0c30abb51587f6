"""Files as an attacker makes them: any table, any bytes, and a checksum that is right."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np

from lehr.runtime import container
from lehr.runtime.tensors import Stored


def file_of(table: Any, tensors: bytes = b"", about: dict[str, Any] | None = None) -> bytes:
    """A file whose table is this value, or this text."""
    text = table if isinstance(table, bytes) else json.dumps({"value": table}).encode()
    return container.to_bytes(about or {}, {"table": zlib.compress(text, 9), "tensors": tensors})


def sparse(shape: list[int], kept: Any, places: dict[str, Any], **other: Any) -> dict[str, Any]:
    """The line of a sparse tensor."""
    return {"name": "w", "dtype": "F32", "shape": shape, "kept": kept, "code": "F32", "places": places, **other}


def with_header(content: bytes, old: bytes, new: bytes) -> bytes:
    """The file with something else in its header, whose length is told as it then is."""
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(old, new)
    assert header != content[8 : 8 + length]
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def entries_of(content: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """The table of a file, and the bytes of its tensors."""
    parts = container.from_bytes(content).parts
    return json.loads(zlib.decompress(parts["table"]))["value"], bytes(parts["tensors"])


def thin(places: list[int], size: int = 40, name: str = "w") -> Stored:
    """A sparse fp32 vector with the values 1, 2, ..."""
    values = np.arange(1, len(places) + 1, dtype=np.float32)
    return Stored(name, "F32", (size,), values, np.array(places, dtype=np.int64))


def same_tensors(first: dict[str, Stored], second: dict[str, Stored]) -> bool:
    """Whether two files hold the same, bit for bit."""
    return list(first) == list(second) and all(same(first[name], second[name]) for name in first)


def same(one: Stored, other: Stored) -> bool:
    """Whether two tensors are the same, bit for bit."""
    told = [(t.name, t.dtype, t.shape, t.granularity, t.same, t.values.tobytes()) for t in (one, other)]
    places = [None if t.places is None else t.places.tolist() for t in (one, other)]
    return told[0] == told[1] and places[0] == places[1]


def leaves(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of everything in a JSON value, lists and objects too."""
    found = [place] if place else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += leaves(child, (*place, key))
    return found
