"""Iterative pruning: the density falls in equal steps."""

from __future__ import annotations

from typing import ClassVar

from lehr.base.schedules import linear
from lehr.masks import Mask
from lehr.masks.selection import Scope
from lehr.sparsify.chance import SETTLED, Chance
from lehr.sparsify.method import Method, Target, methods
from lehr.sparsify.shard import Shard


class Iterative(Method):
    """P in {0, 1}; every n steps the target is chosen again on the current weights, its density falling linearly.

    ``d(u) = d + (1 - d)(1 - u)``. With ``target="fixed"`` the given mask always stays in and only
    the other weights are ranked. A weight that is out keeps its value and may return until the end.

    >>> import torch
    >>> method = Iterative(Mask({"w": torch.tensor([True, False])}), steps=10)
    >>> method.density(0), method.density(5), method.density(10)
    (1.0, 0.75, 0.5)
    """

    name: ClassVar[str] = "iterative"
    path = staticmethod(linear)

    def __init__(
        self,
        mask: Mask,
        *,
        steps: int,
        target: Target = "moving",
        scope: Scope = "global",
        reselect_every: int | None = None,
        within: Mask | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            mask, steps=steps, target=target, scope=scope, reselect_every=reselect_every, within=within, seed=seed
        )

    def density(self, t: int) -> float:
        start = 1.0 if self.within is None else self.within.density
        d = self.initial.density
        return d + (start - d) * type(self).path(self.progress(t))

    @property
    def reselects(self) -> bool:
        return True

    def chance(self, t: int, shard: Shard) -> Chance:
        return SETTLED


methods.add(Iterative.name, Iterative)
