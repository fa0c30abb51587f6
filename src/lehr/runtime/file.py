"""A whole ``.lehr`` file: what it says about itself, its tensors, and the graph of its network, if it has one."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError
from lehr.runtime import container
from lehr.runtime.checked import damaged, ensure, field, json_of
from lehr.runtime.graph import own
from lehr.runtime.tensors import FREE, WEIGHTS_PER_BYTE, Coded, Stored, check_size, decode, encode, require_describable

UNPACKED = 64  # bytes of JSON that one byte of the file may become, and 4096 besides


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    about: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    graph: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Packed:
    """A file, and the smallest that it could be: ``log2 C(N, k)`` bits a mask, the values and the dense tensors."""

    content: bytes
    bound: float  # bytes

    def __len__(self) -> int:
        return len(self.content)


def pack(contents: Contents, code: str | None = None) -> Packed:
    """The bytes of a file.

    Args:
        contents: what is to be held.
        code: of the values of sparse tensors, as `lehr.runtime.tensors.encode`.

    >>> import numpy as np
    >>> file = pack(Contents({}, {"w": Stored("w", "F32", (2,), np.zeros(2, dtype=np.float32))}))
    >>> file.bound, list(unpack(file.content).tensors)
    (8.0, ['w'])
    """
    # What only the graph has, such as the ones of a shortcut, is not rounded.
    coded = [encode(t, None if own(t.name) else code, contents.tensors) for t in contents.tensors.values()]
    parts = {"table": _deflated([one.entry for one in coded])}
    if contents.graph is not None:
        parts["graph"] = _deflated(contents.graph)
    parts["tensors"] = b"".join(one.content for one in coded)
    content = container.to_bytes(contents.about, parts)
    weights = sum(t.size for t in contents.tensors.values() if t.same is None)
    require_describable(weights, sum(map(len, parts.values())))
    return Packed(content, _bound(coded))


def unpack(content: bytes) -> Contents:
    """What a file holds; memory in proportion to its size, nothing in it is trusted.

    Raises:
        LehrError: it is damaged, or not such a file.
    """
    return _contents(container.from_bytes(content))


def read(path: str | Path) -> Contents:
    """The same from a path, which errors then name."""
    parts = container.read(path)
    try:
        return _contents(parts)
    except LehrError as error:
        raise LehrError(f"{path}: {error}") from None


def _contents(file: container.Container) -> Contents:
    ensure({"table", "tensors"} <= file.parts.keys() <= {"table", "graph", "tensors"}, "it lacks a part")
    table = json_of(_inflated(file.parts["table"]), "table")
    entries = field(table, "value", list)
    ensure(all(isinstance(entry, dict) for entry in entries), "its table is not a list of tensors")
    rest = file.parts["tensors"]
    check_size(entries, sum(len(part) for part in file.parts.values()))
    tensors: dict[str, Stored] = {}
    for entry in entries:
        tensor, used = decode(entry, rest, tensors)
        ensure(tensor.name not in tensors, f"{tensor.name[:40]!r} is there twice")
        tensors[tensor.name] = tensor
        rest = rest[used:]
    ensure(not len(rest), "bytes are left over")
    if file.about.get("members"):  # who may all be one network, each as large as it
        length = sum(len(part) for part in file.parts.values())
        total = sum(tensor.size for tensor in tensors.values())
        ensure(total <= FREE + WEIGHTS_PER_BYTE * length, f"{length:,} bytes cannot hold members of {total:,} weights")
    graph = field(json_of(_inflated(file.parts["graph"]), "graph"), "value", dict) if "graph" in file.parts else None
    return Contents(file.about, tensors, graph)


def _bound(coded: Sequence[Coded]) -> float:
    return sum(one.bound for one in coded) / 8


def _deflated(value: Any) -> bytes:
    text = json.dumps({"value": value}, separators=(",", ":"), allow_nan=False).encode()
    small = zlib.compress(text, 9)
    objects = text.count(b"{") + text.count(b"[")
    return small if len(text) <= _most(len(small)) and objects <= 4096 + len(small) else zlib.compress(text, 0)


def _inflated(content: memoryview) -> bytes:
    """The text back; never more than a file of this size may hold."""
    machine = zlib.decompressobj()
    try:
        text = machine.decompress(content, _most(len(content)))
    except zlib.error:
        damaged("its table is not compressed as it should be")
    ensure(machine.eof and not machine.unused_data, "its table is too large for it")
    # Each of these becomes an object, which has a hundred bytes in memory.
    ensure(text.count(b"{") + text.count(b"[") <= 4096 + len(content), "its table has more entries than it can need")
    return text


def _most(length: int) -> int:
    return 4096 + UNPACKED * length
