"""AC/DC: the network is dense and sparse in turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from lehr.base.errors import require
from lehr.masks import Mask
from lehr.masks.selection import Scope
from lehr.sparsify.chance import SETTLED, Chance
from lehr.sparsify.method import NOTHING, Method, methods
from lehr.sparsify.shard import Shard


class AlternatingCompression(Method):
    """Alternating compressed and decompressed training (AC/DC, Peste et al. 2021, 2106.12379).

    The phase is cut into ``2 cycles - 1`` equal parts, dense, sparse, dense and so on up to dense; what follows the phase is sparse.
    At the start of a sparse part the largest weights are kept and the others set to 0 with their optimizer state; in a dense one they
    start again from there. The paper begins with a dense warm-up and ends on longer parts, which `steps` and the dense parent give here.

    Args:
        mask: a mask of the density wanted; which weights it has does not matter.
        steps: length of the phase, in optimizer steps; at least ``2 cycles - 1``.
        cycles: how often the network is dense, at least 1.
        scope, within, seed: as in `Method`.

    Raises:
        LehrError: an argument is out of range.

    >>> method = AlternatingCompression(Mask({"w": torch.tensor([True, False])}), steps=9, cycles=2)
    >>> [method.density(t) for t in (0, 2, 3, 5, 6, 8, 9)]
    [1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.5]
    """

    name: ClassVar[str] = "ac-dc"
    clears: ClassVar[bool] = True

    def __init__(
        self,
        mask: Mask,
        *,
        steps: int,
        cycles: int = 4,
        scope: Scope = "global",
        within: Mask | None = None,
        seed: int = 0,
    ) -> None:
        require(type(cycles) is int and cycles >= 1, f"cycles is {cycles!r}: give a whole number from 1")
        parts = 2 * cycles - 1
        require(steps >= parts, f"{cycles} cycles need {parts} steps of annealing and there are {steps}: give more")
        super().__init__(mask, steps=steps, target="moving", scope=scope, within=within, seed=seed)
        self.cycles = cycles

    def dense(self, t: int) -> bool:
        """Whether everything takes part in step t."""
        return t < self.steps and self._part(t) % 2 == 0

    def _part(self, t: int) -> int:
        return t * (2 * self.cycles - 1) // self.steps

    def due(self, t: int) -> bool:
        return t <= self.steps and (t == 0 or self._part(t) != self._part(t - 1))

    def density(self, t: int) -> float:
        full = 1.0 if self.within is None else self.within.density
        return full if self.dense(t) else self.initial.density

    def chance(self, t: int, shard: Shard) -> Chance:
        return SETTLED

    def retarget(self, t: int, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor] = NOTHING) -> None:
        if not self.dense(t):
            super().retarget(t, weights)
        elif self.within is not None:
            self.target = self.within
        else:
            whole = {name: torch.ones_like(keep) for name, keep in self.initial.items()}
            self.target = Mask(whole, self.initial.granularities)


methods.add(AlternatingCompression.name, AlternatingCompression)
