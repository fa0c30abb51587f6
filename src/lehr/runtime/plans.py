"""How a network is run for batches of some size, and what was measured of it, kept from one run to the next."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lehr.base.cache import cache_folder
from lehr.base.environment import processor
from lehr.base.errors import CannotWrite
from lehr.base.files import write_json
from lehr.runtime.lowering.convolution import Tiling

FORMAT = 1


@dataclass(frozen=True)
class Choice:
    """How a layer is run and what it costs.

    Args:
        name: of the layer's output in the graph.
        tiling: the fastest; ``tiling.group`` above 0 is the dense kernel.
        density: nonzeros over weights.
        seconds: of it, and of the fastest of the other kind (None where that was not tried).
    """

    name: str
    tiling: Tiling
    seconds: float
    other: float | None
    density: float


@dataclass(frozen=True)
class Plan:
    """How a network is run.

    Args:
        patches: of each image; samples fill the rest of the lanes.
        choices: how each layer's work is cut; a guess where a layer is missing.
        alone: leave a block to one thread, as waking another takes longer than the network.
    """

    patches: int
    choices: tuple[Choice, ...] = ()
    alone: bool = False

    @property
    def tilings(self) -> Mapping[str, Tiling]:
        """By the name of each layer."""
        return {choice.name: choice.tiling for choice in self.choices}


def key(about: Mapping[str, Any]) -> str:
    """The name of what was measured: this machine, this version, and whatever else `about` tells of the network.

    >>> len(key({"threads": 2}))
    32
    """
    machine = {"processor": processor(), "machine": platform.machine(), "lehr": version("lehr"), "format": FORMAT}
    text = json.dumps({**machine, **about}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def folder() -> Path:
    """Where plans are kept: ``$LEHR_CACHE/plans``, or ``lehr/plans`` in the user's cache; delete it to measure anew."""
    return cache_folder() / "plans"


def recall(name: str, layers: frozenset[str], patches: tuple[int, ...]) -> Plan | None:
    """The plan of that name; None where there is none, or none that fits these layers and ways."""
    try:
        told = json.loads((folder() / f"{name}.json").read_text(encoding="utf-8"))
        choices = tuple(Choice(**(one | {"tiling": Tiling(**one["tiling"])})) for one in told["choices"])
        plan = Plan(told["patches"], choices, told["alone"])
        sizes = [n for c in choices for n in (c.tiling.height, c.tiling.width, c.tiling.parts, c.tiling.group)]
        fits = all(type(n) is int and 0 <= n <= 16 for n in sizes) and plan.patches in patches
        fits &= all(type(c.seconds) is float and type(c.density) is float for c in choices)
        fits &= all(
            c.tiling.height in (1, 2, 4) and c.tiling.width >= 1 and c.tiling.group in (0, 4, 8) for c in choices
        )
        return plan if fits and {c.name for c in choices} == layers and type(plan.alone) is bool else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def keep(name: str, plan: Plan) -> None:
    """Write a plan beside the others; nothing is lost where that is not possible, but time."""
    with suppress(CannotWrite):
        write_json(folder() / f"{name}.json", asdict(plan))
