"""Files that are never half written: made beside, flushed, renamed; and data only, nothing is unpickled."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lehr.base.errors import CannotWrite, LehrError


def write_beside(path: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a file in the same folder, flush it to disk, and rename it over `path`.

    A kill at any moment leaves the old file or the new one. Raises `CannotWrite` where the folder
    cannot be written or the disk is full; the old file is then untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        beside = Path(name)
        try:
            write(beside)
            descriptor = os.open(beside, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            beside.chmod(0o644)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
    return path


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """One sentence for a file that could not be written."""
    return CannotWrite(f"cannot write {path} ({error.strerror or error}): free space or choose a folder you can write")


def write_text(path: Path, text: str) -> Path:
    """Write a text file, beside and renamed.

    >>> write_text(Path("/tmp/_doc.txt"), "hello").read_text()
    'hello'
    """
    return write_beside(path, lambda beside: _discard(beside.write_text(text, encoding="utf-8")))


def write_bytes(path: Path, content: bytes) -> Path:
    """Write bytes, beside and renamed.

    >>> write_bytes(Path("/tmp/_doc.bin"), b"abc").read_bytes()
    b'abc'
    """
    return write_beside(path, lambda beside: _discard(beside.write_bytes(content)))


def write_json(path: Path, value: Any) -> Path:
    """Write JSON, beside and renamed; NaN is refused.

    >>> read_json(write_json(Path("/tmp/_doc.json"), {"a": [1, 2]}))
    {'a': [1, 2]}
    """
    return write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON, or say in one sentence why not."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LehrError(f"cannot read {path} ({error}): is it a file of a run?") from None
    return read_json_text(text, str(path))


def read_json_text(text: str, source: str) -> Any:
    """The same for text that came from elsewhere in a file."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise LehrError(f"{source} is damaged: {error}") from None


def _discard(_: object) -> None:
    return None
