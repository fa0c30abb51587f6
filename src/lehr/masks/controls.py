"""Masks that a chosen one is to be compared with: as many weights in every layer, other ones."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import require, unknown
from lehr.masks.choice import fold_groups, keep_best, spread_groups
from lehr.masks.mask import Mask

CONTROLS = ("none", "shuffle", "invert")


def controlled(mask: Mask, how: str, weights: Mapping[str, Tensor], seed: int, within: Mask | None = None) -> Mask:
    """The mask itself, or another with the same number of granules in every layer.

    Args:
        mask: the chosen one.
        how: ``none``; ``shuffle`` puts what is kept at random places of the same layer; ``invert`` keeps the smallest magnitudes of those that `within` has.
        weights: full tensors by name, which ``invert`` ranks.
        seed: of the places, and of ties.
        within: a former mask, outside which ``invert`` keeps nothing; ``shuffle`` takes the whole layer, as 1903.01611 does.

    Raises:
        LehrError: there is no such control.

    >>> import torch
    >>> mask = Mask({"w": torch.tensor([False, False, True])})
    >>> controlled(mask, "invert", {"w": torch.tensor([2.0, 1.0, 3.0])}, 0)["w"].tolist()
    [False, True, False]
    """
    if how not in CONTROLS:
        raise unknown("control", how, CONTROLS)
    if how == "none":
        return mask
    cuts = {name: mask.granules(name) for name in mask}
    require(
        not any(cut.n for cut in cuts.values()),
        f"{how} puts weights anywhere in a layer, which N:M forbids: leave it out",
    )
    if how == "invert":
        scored = {group: -one for group, one in fold_groups({n: weights[n].abs().float() for n in mask}, cuts).items()}
    else:
        scored = {cut.group: Stream(seed, cut.group, Purpose.CONTROL).uniform(0, cut.count) for cut in cuts.values()}
    kept: dict[str, Tensor] = {}
    for name, cut in cuts.items():
        if cut.group in kept:
            continue
        room = None if within is None or how == "shuffle" else cut.fold((~within[name]).float()) == 0
        count = int((cut.fold((~mask[name]).float()) == 0).sum())
        kept |= keep_best({cut.group: scored[cut.group]}, {cut.group: room}, count, seed)
    shapes = {row.name: row.shape for row in mask.layers()}
    return Mask(spread_groups(kept, cuts, shapes), mask.granularities)
