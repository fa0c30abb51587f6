"""Gradual magnitude pruning: fast at first, slow at the end."""

from __future__ import annotations

from typing import ClassVar

from lehr.base.schedules import cubic
from lehr.sparsify.method import methods
from lehr.sparsify.methods.iterative import Iterative


class Gradual(Iterative):
    """As `Iterative`, along ``d(u) = d + (1 - d)(1 - u)^3`` (Zhu & Gupta 2017, 1710.01878).

    >>> import torch
    >>> from lehr.masks import Mask
    >>> Gradual(Mask({"w": torch.tensor([True, False])}), steps=10).density(5)
    0.5625
    """

    name: ClassVar[str] = "gradual"
    path = staticmethod(cubic)


methods.add(Gradual.name, Gradual)
