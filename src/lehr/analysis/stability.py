"""How far apart two trained copies of a subnetwork are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import acos, degrees

from torch import Tensor

from lehr.base.errors import require
from lehr.masks import Mask


@dataclass(frozen=True)
class Distance:
    """Between two networks on the weights of a mask.

    Args:
        l2: ``|m w - m w'|``.
        angle: between ``m w`` and ``m w'`` in degrees; 90 where one of them is 0.

    >>> Distance(l2=5.0, angle=90.0).l2
    5.0
    """

    l2: float
    angle: float


def distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor], mask: Mask) -> Distance:
    """L2 distance and angle of the masked weights (Frankle et al. 2019, 1903.01611, section 4 and appendix B).

    *Stability to pruning* is this for the whole network trained on from step k and its subnetwork trained on from the same weights, in the same
    order of the data; *stability to data order* for two copies of the subnetwork in two orders. Each is small where training is
    stable, and is compared with that of a random mask with the same number of weights in every layer.

    Args:
        a, b: state dicts.
        mask: which weights are compared.

    Raises:
        LehrError: a layer of the mask is missing, or of another shape.

    >>> import torch
    >>> mask = Mask({"w": torch.tensor([True, True, False])})
    >>> distance({"w": torch.tensor([3.0, 0.0, 9.0])}, {"w": torch.tensor([0.0, 4.0, 1.0])}, mask)
    Distance(l2=5.0, angle=90.0)
    """
    square = product = first = second = 0.0
    for name, keep in mask.items():
        x, y = _masked(a, name, keep), _masked(b, name, keep)
        square += float((x - y).square().sum())
        product += float(x @ y)
        first += float(x @ x)
        second += float(y @ y)
    norms = (first * second) ** 0.5
    return Distance(square**0.5, degrees(acos(max(-1.0, min(1.0, product / norms)))) if norms else 90.0)


def travel(before: Mapping[str, Tensor], after: Mapping[str, Tensor], mask: Mask) -> dict[str, float]:
    """``|m (w' - w)| / |m w|`` of each layer of a mask: how far its weights went; infinite from 0.

    >>> import torch
    >>> mask = Mask({"w": torch.tensor([True, False])})
    >>> travel({"w": torch.tensor([2.0, 1.0])}, {"w": torch.tensor([3.0, 9.0])}, mask)
    {'w': 0.5}
    """
    found = {}
    for name, keep in mask.items():
        x, y = _masked(before, name, keep), _masked(after, name, keep)
        size = float(x.norm())
        moved = float((y - x).norm())
        found[name] = moved / size if size else (0.0 if not moved else float("inf"))
    return found


def overlap(a: Mask, b: Mask) -> dict[str, float]:
    """``|a & b| / |a | b|`` of each layer: 1 for the same mask, about ``d / (2 - d)`` for two random ones of density d.

    >>> import torch
    >>> one, two = Mask({"w": torch.tensor([True, True, False])}), Mask({"w": torch.tensor([True, False, True])})
    >>> round(overlap(one, two)["w"], 3)
    0.333
    """
    both, either = a & b, a | b
    counts = {row.name: row.kept for row in either.layers()}
    return {row.name: row.kept / counts[row.name] if counts[row.name] else 1.0 for row in both.layers()}


def _masked(state: Mapping[str, Tensor], name: str, keep: Tensor) -> Tensor:
    fits = name in state and state[name].shape == keep.shape
    require(fits, f"{name} of the mask is missing, or of another shape: give state dicts of its network")
    return state[name].detach().cpu()[keep].double()
