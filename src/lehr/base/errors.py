"""Errors that a person can act on: the thing, the value, the remedy, in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Real


class LehrError(ValueError):
    """Bad input or a bad state of the world, told in one sentence.

    The command line prints the sentence alone and exits with code 2; from Python it is an
    ordinary ``ValueError``.

    >>> raise LehrError("sparsity is 1.5: give a number in [0, 1)")
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: sparsity is 1.5: give a number in [0, 1)
    """


class Interrupted(LehrError):
    """A run was asked to stop (Ctrl-C or SIGTERM) and has saved its state; the command line exits with 130."""


class Diverged(LehrError):
    """The loss of a run is no longer a number; other runs can go on."""


class Busy(LehrError):
    """Another process works there; what it does will be done without us."""


class CannotWrite(LehrError):
    """A file could not be written, for want of space or of permission: no run can go on."""


LISTED = 100  # more names than that help nobody


def unknown(kind: str, name: object, choices: Iterable[str]) -> LehrError:
    """The error for a name that is not in a list, with the nearest names that are.

    >>> str(unknown("method", "one-shoot", ["one-shot", "gradual"]))
    "there is no method 'one-shoot': did you mean 'one-shot'? (methods: gradual, one-shot)"
    """
    known = sorted(choices)
    near = difflib.get_close_matches(str(name), known, n=2, cutoff=0.5)
    listed = ", ".join(known[:LISTED]) + (f" and {len(known) - LISTED} more" if len(known) > LISTED else "")
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"choose from {listed}"
    plural = (
        kind if kind.endswith("s")
        else f"{kind[:-1]}ies" if kind.endswith("y")
        else f"{kind}es" if kind.endswith("ch")
        else f"{kind}s"
    )  # fmt: skip
    listing = f" ({plural}: {listed})" if near else ""
    return LehrError(f"there is no {kind} {str(name)!r}: {hint}{listing}")


def require(condition: bool, message: str) -> None:
    """Raise `LehrError(message)` unless the condition holds.

    >>> require(1 < 2, "never said")
    """
    if not condition:
        raise LehrError(message)


def check_fraction(name: str, value: float, *, below_one: bool = True) -> float:
    """A number in [0, 1), or in [0, 1] with ``below_one=False``.

    >>> check_fraction("sparsity", 0.9)
    0.9
    >>> check_fraction("sparsity", 90)
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: sparsity is 90: give a fraction in [0, 1), such as 0.9 for 90 %
    """
    top = "1)" if below_one else "1]"
    number = isinstance(value, Real) and not isinstance(value, bool)
    if number and value >= 0 and (value < 1 or (value == 1 and not below_one)):
        return float(value)
    hint = f", such as {value / 100:g} for {value:g} %" if number and 1 < value < 100 else ""
    raise LehrError(f"{name} is {value}: give a fraction in [0, {top}{hint}")


def one_line(error: BaseException, limit: int = 300, *, named: bool = False) -> str:
    """What somebody else's error says, on one line that is not too long; its name where it says nothing, or before it where that is asked for.

    >>> one_line(ValueError("a\\n  b")), one_line(KeyboardInterrupt()), len(one_line(ValueError("x" * 900)))
    ('a b', 'KeyboardInterrupt', 300)
    >>> one_line(ValueError("a"), named=True), one_line(ValueError(), named=True)
    ('ValueError: a', 'ValueError')
    """
    name, text = type(error).__name__, " ".join(str(error).split())[:limit]
    return (f"{name}: {text}" if named else text) if text else name
