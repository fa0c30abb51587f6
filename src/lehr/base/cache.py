"""Where what can be made again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$LEHR_CACHE``, or ``lehr`` in the user's cache; whatever lies there may be deleted at any time."""
    own = os.environ.get("LEHR_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lehr"
