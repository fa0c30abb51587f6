"""Masks that divide a network: disjoint, and together all of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import LehrError, require
from lehr.masks.choice import spread_groups
from lehr.masks.granules import n_of_m_sparsity
from lehr.masks.mask import Mask
from lehr.masks.selection import Scope, select
from lehr.masks.targets import Modules


def partition(
    model: nn.Module,
    parts: int = 2,
    *,
    seed: int = 0,
    scope: Scope = "layer",
    granularity: str = "unstructured",
    target_modules: Modules = None,
    exclude_modules: Modules = None,
) -> tuple[Mask, ...]:
    """Deal the granules of a network at random into parts: every one of them is in exactly one mask.

    Two parts are an anti-random pair (2202.11782): a random mask ``m`` and ``~m``, as far from each other as two masks can be. Of N
    granules every part has ``floor(N / parts)`` or one more; with ``scope="layer"`` in every layer, with ``"global"`` over all of them.

    Args:
        model: the network; untouched.
        parts: how many, from 2.
        seed: of the deal.
        scope: whether layers are dealt one by one or together.
        granularity: what is dealt as one, as in `lehr.select`; with N:M there are M / N parts, and every group of M is dealt.
        target_modules, exclude_modules: which layers, as in `lehr.select`.

    Raises:
        LehrError: a layer has fewer granules than there are parts, or N:M another number of them.

    >>> m, rest = partition(nn.Linear(4, 3), seed=1)
    >>> rest == ~m, m.kept, rest.kept
    (True, 6, 6)
    """
    require(type(parts) is int and parts >= 2, f"parts is {parts!r}: give a whole number from 2")
    n_of_m = n_of_m_sparsity(granularity)
    like = select(
        model, n_of_m if n_of_m is not None else 0.0, score="random", seed=seed, granularity=granularity,
        target_modules=target_modules, exclude_modules=exclude_modules,
    )  # fmt: skip
    cuts = {name: like.granules(name) for name in like}
    groups = {cut.group: cut for cut in cuts.values()}
    if n_of_m is not None:
        n, m = map(int, granularity.split(":"))
        require(n * parts == m, f"{granularity} divides a layer into {m / n:g} parts and not into {parts}: change one")
    dealt: dict[str, Tensor] = {}
    if scope == "global" and n_of_m is None:
        numbers = torch.cat([_numbers(seed, group, cut.count) for group, cut in groups.items()])
        labels = torch.split(_deal(numbers, parts), [cut.count for cut in groups.values()])
        dealt = dict(zip(groups, labels, strict=True))
    else:
        for group, cut in groups.items():
            numbers = _numbers(seed, group, cut.count)
            if cut.n:  # within each group of M
                shaped = numbers.reshape(cut.dims).movedim(cut.along, -1)
                ranks = shaped.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True) // cut.n
                dealt[group] = ranks.movedim(-1, cut.along).reshape(-1)
            else:
                dealt[group] = _deal(numbers, parts)
    shapes = {row.name: row.shape for row in like.layers()}
    masks = tuple(
        Mask(spread_groups({g: label == part for g, label in dealt.items()}, cuts, shapes), like.granularities)
        for part in range(parts)
    )
    for number, mask in enumerate(masks):
        empty = next((row.name for row in mask.layers() if not row.kept), None)
        if empty is not None:
            raise LehrError(
                f"part {number} of {parts} has no weight in {empty}: give fewer parts, or exclude the layer, "
                f"exclude_modules=['{empty.rpartition('.')[0]}'] or --exclude-module"
            )
    return masks


def _numbers(seed: int, group: str, count: int) -> Tensor:
    """Random 32-bit numbers, so that ties are too rare to matter; a tie goes to the earlier place."""
    bits = Stream(seed, group, Purpose.PARTITION).bits(0, 2 * count).astype(np.int64)
    return torch.from_numpy(bits[:count] << 16 | bits[count:])


def _deal(numbers: Tensor, parts: int) -> Tensor:
    """The part of each, by rank: as many to every part, or one more.

    >>> sorted(_deal(torch.tensor([5, 3, 9, 1, 7]), 2).tolist())
    [0, 0, 0, 1, 1]
    """
    count = len(numbers)
    labels = torch.empty(count, dtype=torch.int64)
    labels[numbers.argsort(stable=True)] = torch.arange(count) * parts // max(1, count)
    return labels
