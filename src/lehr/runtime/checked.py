"""Values out of a file that nobody vouches for: of the kind that they should be, or one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any, NoReturn, TypeVar

from lehr.base.errors import LehrError

T = TypeVar("T")
DIMENSIONS = 16  # more than any layer has
LARGEST = 2**40  # weights; sizes below it cannot overflow 64 bits


def damaged(reason: str) -> NoReturn:
    """Raise: what is wrong with the file.

    >>> damaged("its table ends too soon")
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: the file is damaged (its table ends too soon): get it again
    """
    raise LehrError(f"the file is damaged ({reason}): get it again")


def ensure(condition: bool, reason: str) -> None:
    """`damaged` unless the condition holds."""
    if not condition:
        damaged(reason)


def field(value: Mapping[str, Any], name: str, kind: type[T], default: T | None = None) -> T:
    """An entry of exactly this type; `default`, where given, if it is not there.

    >>> field({"bits": 3}, "bits", int)
    3
    """
    if name not in value and default is not None:
        return default
    found = value.get(name)
    if type(found) is not kind:
        damaged(f"its {name} is {str(found)[:40]!r}")
    result: T = found
    return result


def shape_of(value: Mapping[str, Any], name: str = "shape") -> tuple[int, ...]:
    """A list of sizes whose product is a possible number of weights."""
    found = field(value, name, list)
    sane = len(found) <= DIMENSIONS and all(type(n) is int and 0 <= n <= LARGEST for n in found)
    ensure(sane and prod(max(1, n) for n in found) <= LARGEST, f"its {name} is {str(found)[:60]}")
    return tuple(found)


def json_of(content: bytes, what: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):  # also numbers of thousands of digits
        damaged(f"its {what} is not JSON")
    if not isinstance(value, dict):
        damaged(f"its {what} is not an object")
    return value
