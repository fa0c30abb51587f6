"""The compiled part, where it was built."""

from __future__ import annotations

from types import ModuleType

from lehr.base.errors import LehrError

_found: ModuleType | None = None
REASON = ""
try:
    from lehr.runtime import _native

    _found = _native
except ImportError as error:  # no compiler when lehr was installed, or another Python
    REASON = str(error)

MISSING = "the compiled part of lehr is not there: install a C++ compiler, then pip install --force-reinstall lehr"


def available() -> bool:
    """Whether the engine can run here."""
    return _found is not None


def native() -> ModuleType:
    """The compiled module.

    Raises:
        LehrError: it was not built.
    """
    if _found is None:
        raise LehrError(f"{MISSING} ({REASON})")
    return _found
