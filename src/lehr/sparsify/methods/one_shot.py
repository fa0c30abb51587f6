"""One-shot pruning: the path that is already there."""

from __future__ import annotations

from typing import ClassVar

from lehr.masks import Mask
from lehr.sparsify.chance import SETTLED, Chance
from lehr.sparsify.method import Method, methods
from lehr.sparsify.shard import Shard


class OneShot(Method):
    """``P = m`` from step 0 (the reference of 2401.08830).

    >>> import torch
    >>> OneShot(Mask({"w": torch.tensor([True, False])})).finished(0)
    True
    """

    name: ClassVar[str] = "one-shot"

    def __init__(self, mask: Mask, *, within: Mask | None = None, seed: int = 0) -> None:
        super().__init__(mask, within=within, seed=seed)

    def chance(self, t: int, shard: Shard) -> Chance:
        return SETTLED


methods.add(OneShot.name, OneShot)
