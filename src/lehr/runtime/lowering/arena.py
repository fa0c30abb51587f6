"""Which part of the arena an activation has while it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PAGE = 4  # lines; activations begin at multiples of it


def allot(sizes: Mapping[str, int], lives: Mapping[str, tuple[int, int]]) -> tuple[dict[str, int], int]:
    """The first line of each activation, and the lines in all: no two share a line while both live.

    Args:
        sizes: in lines.
        lives: the first and last step at which each is needed.

    >>> allot({"a": 8, "b": 4, "c": 8}, {"a": (0, 1), "b": (1, 2), "c": (2, 3)})
    ({'a': 0, 'c': 0, 'b': 8}, 12)
    """
    placed: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], lives[name])):
        begin, end = lives[name]
        taken: Sequence[tuple[int, int]] = sorted(
            (placed[other], placed[other] + sizes[other])
            for other in placed
            if lives[other][0] <= end and begin <= lives[other][1]
        )
        place = 0
        for low, high in taken:
            if place + sizes[name] <= low:
                break
            place = max(place, -(-high // PAGE) * PAGE)
        placed[name] = place
    return placed, max((placed[name] + sizes[name] for name in sizes), default=0)
