"""The rank of layers: how many directions of its input a layer can tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lehr.base.errors import require
from lehr.masks.targets import Modules, target_parameters

TOLERANCE = 1e-3  # of the largest singular value


@dataclass(frozen=True)
class Rank:
    """Of one layer's weights as a matrix (outputs, the rest).

    Args:
        name: of the parameter.
        full: the largest that the shape allows.
        rank: singular values above a thousandth of the largest.
        stable: ``sum s^2 / max s^2`` of the singular values s: from 1 to `full`, without a threshold.
    """

    name: str
    full: int
    rank: int
    stable: float


def ranks(model: nn.Module, target_modules: Modules = None, exclude_modules: Modules = None) -> list[Rank]:
    """The ranks of every Linear and Conv weight, in the order of the network.

    Args:
        model: any network.
        target_modules, exclude_modules: as in `lehr.select`.

    Raises:
        LehrError: a weight is no finite number.

    >>> layer = nn.Linear(3, 3, bias=False)
    >>> _ = layer.weight.data.copy_(torch.diag(torch.tensor([2.0, 1.0, 0.0])))
    >>> ranks(layer)
    [Rank(name='weight', full=3, rank=2, stable=1.25)]
    """
    parameters = target_parameters(model, target_modules, exclude_modules)
    return [_rank(name, parameter.detach()) for name, parameter in parameters.items()]


def _rank(name: str, weight: Tensor) -> Rank:
    require(bool(weight.isfinite().all()), f"{name} has weights that are no finite numbers: their rank is undefined")
    values = torch.linalg.svdvals(weight.flatten(1).double())
    largest = float(values.max())
    if largest == 0.0:
        return Rank(name, len(values), 0, 0.0)
    shares = values / largest
    return Rank(name, len(values), int((shares > TOLERANCE).sum()), float(shares.square().sum()))
