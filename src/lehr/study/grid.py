"""Lists are axes: a grid's values, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from lehr.base.errors import LehrError


def points(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the values of lists; the last axis changes fastest.

    A setting that is a list itself is written as a list in a list.

    >>> list(points({"method": ["one-shot", "gradual"], "epochs": 3, "modules": [["a", "b"]]}))
    [{'method': 'one-shot', 'epochs': 3, 'modules': ('a', 'b')}, {'method': 'gradual', 'epochs': 3, 'modules': ('a', 'b')}]
    """
    for name, value in values.items():
        if isinstance(value, (list, tuple)) and not value:
            raise LehrError(f"{name} is an empty list: give it a value, or leave it out")
    names = list(values)
    for point in product(*([v] if not isinstance(v, (list, tuple)) else v for v in values.values())):
        yield {name: tuple(v) if isinstance(v, list) else v for name, v in zip(names, point, strict=True)}
