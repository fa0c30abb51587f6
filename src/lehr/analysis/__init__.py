"""What a network is worth and what it costs: quality, FLOPs, sensitivity, ranks, corrupted data; and what lies between two networks.

The names below are imported when they are first used: tables and reports need a part of this room that is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Barrier": "lehr.analysis.connectivity",
    "barrier": "lehr.analysis.connectivity",
    "ranks": "lehr.analysis.rank",
    "Distance": "lehr.analysis.stability",
    "distance": "lehr.analysis.stability",
    "overlap": "lehr.analysis.stability",
    "travel": "lehr.analysis.stability",
}

if TYPE_CHECKING:
    from lehr.analysis.connectivity import Barrier, barrier
    from lehr.analysis.rank import ranks
    from lehr.analysis.stability import Distance, distance, overlap, travel

__all__ = ["Barrier", "Distance", "barrier", "distance", "overlap", "ranks", "travel"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lehr.analysis' has no attribute {name!r}")
