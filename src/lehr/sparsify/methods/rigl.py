"""RigL: drop the smallest weights, grow where the gradient is largest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from lehr.sparsify.method import methods
from lehr.sparsify.methods.sparse_evolution import SparseEvolution


class RigL(SparseEvolution):
    """As `SparseEvolution`, but what comes has the largest ``|dL/dw|`` among the weights that are out (Evci et al. 2020, 1911.11134).

    The gradients are those of the step just done, over all of its passes and processes, and are kept in that step alone. The
    paper leaves out the optimizer's step where the target changes; here it is done. Give the first mask by layer with
    ``distribution="erk"``, as there.

    >>> import torch
    >>> from lehr.masks import Mask
    >>> method = RigL(Mask({"w": torch.tensor([True, True, False, False])}), steps=10, drop=0.9, reselect_every=1)
    >>> method.retarget(1, {"w": torch.tensor([3.0, -1.0, 0.0, 0.0])}, {"w": torch.tensor([0.0, 0.0, 0.1, -0.2])})
    >>> method.target["w"].tolist()
    [True, False, False, True]
    """

    name: ClassVar[str] = "rigl"

    def wants_gradients(self, t: int) -> bool:
        return self.due(t + 1)

    def growth(self, name: str, t: int, gradients: Mapping[str, Tensor]) -> Tensor:
        return gradients[name].detach().abs().float()


methods.add(RigL.name, RigL)
