"""Lengths of training as people write them: ``500it``, ``2ep``, ``1ep100it``, or a fraction ``0.5``."""

from __future__ import annotations

import re

from lehr.base.errors import LehrError

_PATTERN = re.compile(r"^(?:(?P<epochs>\d+)ep)?(?:(?P<steps>\d+)it)?$")


def parse_length(text: str, *, steps_per_epoch: int, total: int) -> int:
    """The optimizer steps that a length stands for: a fraction of `total`, or epochs and iterations.

    >>> [parse_length(t, steps_per_epoch=10, total=80) for t in ("0.5", "1", "2ep", "7it", "1ep5it", "0")]
    [40, 80, 20, 7, 15, 0]
    >>> parse_length("half", steps_per_epoch=10, total=80)
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: the length 'half' is not understood: write 0.5 (of the run), 500it, 2ep or 1ep100it
    """
    try:
        fraction = float(text)
    except ValueError:
        match = _PATTERN.match(text.strip())
        if not text.strip() or match is None:
            raise LehrError(
                f"the length {text!r} is not understood: write 0.5 (of the run), 500it, 2ep or 1ep100it"
            ) from None
        return int(match["epochs"] or 0) * steps_per_epoch + int(match["steps"] or 0)
    if not 0.0 <= fraction <= 1.0:
        whole = f"{fraction:.0f}" if 1 < fraction < 1e15 else "500"
        raise LehrError(f"the length {text} is not a fraction in [0, 1]: write {whole}it or {whole}ep for whole steps")
    return round(fraction * total)


def spelled(text: str) -> str:
    """A length in its shortest spelling, so that one step has one name; other texts as they are.

    >>> [spelled(t) for t in ("0", "0it", "0ep0it", "0.0", "007it", "1ep0it", "0.50", "0.12345678", "half")]
    ['0', '0', '0', '0', '7it', '1ep', '0.5', '0.12345678', 'half']
    """
    match = _PATTERN.match(text.strip()) if text.strip() else None
    if match is None:
        try:
            return repr(float(text)).removesuffix(".0")  # every digit counts
        except ValueError:
            return text
    parts = [
        f"{int(match[unit] or 0)}{word}" for unit, word in (("epochs", "ep"), ("steps", "it")) if int(match[unit] or 0)
    ]
    return "".join(parts) or "0"


def in_order(text: str) -> tuple[float, int, int]:
    """What lengths are sorted by where the steps in an epoch are not known: by epochs, then steps; fractions last.

    >>> sorted(["10it", "1ep", "0", "2it", "1ep5it"], key=in_order)
    ['0', '2it', '10it', '1ep', '1ep5it']
    """
    match = _PATTERN.match(text.strip())
    if match is None or not text.strip():
        return float(text), 0, 0
    return 0.0, int(match["epochs"] or 0), int(match["steps"] or 0)
