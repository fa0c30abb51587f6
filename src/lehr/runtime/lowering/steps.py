"""What a step of a lowered network is, and where the engine finds its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lehr.runtime.lowering.layout import Layout

Halo = tuple[int, int, int, int]
Operation = tuple[str, dict[str, Any]]
NONE: Halo = (0, 0, 0, 0)


@dataclass(frozen=True)
class Need:
    """What a step wants around the patches of an activation that it reads: so many lines, filled with a number."""

    halo: Halo = NONE
    fill: float = 0.0


@dataclass(frozen=True)
class Machine:
    """What a network is lowered for: patches of each sample, lanes of a line, threads, and pixels in a kernel's tile at most."""

    patches: int
    lanes: int
    workers: int
    most: int

    @property
    def samples(self) -> int:
        """Samples in a block: what fills the lanes."""
        return self.lanes // self.patches


@dataclass
class Place:
    """An activation in the arena, once it is known where."""

    layout: Layout
    base: int  # line

    @property
    def inside(self) -> int:
        """The line of the first pixel."""
        return self.base + self.layout.first

    @property
    def start(self) -> int:
        """Its first number, counted in numbers of the arena."""
        return self.base * self.layout.lanes


Emit = Callable[[Mapping[str, Place]], list[Operation]]


@dataclass
class Step:
    """One operation of the lowered network: what it reads and writes, and how it is told to the engine."""

    name: str
    kind: str
    reads: dict[str, Need]
    writes: str
    emit: Emit
    scratch: int = 0  # lines that it needs for itself
    note: dict[str, Any] = field(default_factory=dict)  # for reports: density, multiplications
