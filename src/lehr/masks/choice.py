"""From one number a weight to one a granule, the choice among granules, and back to masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lehr.base.draws import Purpose, Stream
from lehr.masks.granules import Granules
from lehr.masks.topk import top_k

Cuts = Mapping[str, Granules]


def fold_groups(tensors: Mapping[str, Tensor], cuts: Cuts) -> dict[str, Tensor]:
    """The mean over each granule, 1-d by group, from one number a weight by parameter name.

    The mean and not the sum, so that a ranking over layers does not only compare the sizes of granules.

    >>> fold_groups({"w": torch.tensor([[1.0, 3.0], [0.0, 2.0]])}, {"w": Granules("w", (2, 2), (0,))})["w"].tolist()
    [2.0, 1.0]
    """
    sums: dict[str, Tensor] = {}
    sizes: dict[str, int] = {}
    for name, tensor in tensors.items():
        cut = cuts[name]
        folded = cut.fold(tensor)
        sums[cut.group] = sums[cut.group] + folded if cut.group in sums else folded
        sizes[cut.group] = sizes.get(cut.group, 0) + cut.size
    return {group: total / sizes[group] if sizes[group] > 1 else total for group, total in sums.items()}


def fold_all(masks: Mapping[str, Tensor], cuts: Cuts) -> dict[str, Tensor]:
    """One bool a granule by group: whether all of its weights are set.

    >>> fold_all({"w": torch.tensor([[True, True], [False, True]])}, {"w": Granules("w", (2, 2), (0,))})["w"].tolist()
    [True, False]
    """
    return {
        group: lacking == 0 for group, lacking in fold_groups({n: (~m).float() for n, m in masks.items()}, cuts).items()
    }


def spread_groups(kept: Mapping[str, Tensor], cuts: Cuts, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A bool tensor by parameter name from one bool a granule by group.

    >>> cuts = {"w": Granules("w", (2, 2), (0,))}
    >>> spread_groups({"w": torch.tensor([True, False])}, cuts, {"w": (2, 2)})["w"].tolist()
    [[True, True], [False, False]]
    """
    return {name: cut.spread(kept[cut.group]).reshape(shapes[name]) for name, cut in cuts.items()}


def best_n_of_m(
    scored: Mapping[str, Tensor], allowed: Mapping[str, Tensor | None], cuts: Cuts, seed: int
) -> dict[str, Tensor]:
    """For the groups whose granularity is N:M: which weights are among the N best of their M."""
    return {
        cut.group: cut.best_of_each(scored[cut.group], allowed[cut.group], Stream(seed, cut.group, Purpose.TIE))
        for cut in cuts.values()
        if cut.n
    }


def keep_best(
    scored: Mapping[str, Tensor], allowed: Mapping[str, Tensor | None], total: int, seed: int
) -> dict[str, Tensor]:
    """The `total` best granules of all groups together: one bool a granule by group.

    `scored` holds 1-d importance by group, `allowed` 1-d bool or None (all) of the granules that may
    be chosen.

    >>> one, two = torch.tensor([1.0, 5.0]), torch.tensor([3.0])
    >>> {k: v.tolist() for k, v in keep_best({"a": one, "b": two}, {"a": None, "b": None}, 2, 0).items()}
    {'a': [False, True], 'b': [True]}
    """
    stream = Stream(seed, "+".join(scored), Purpose.TIE)
    masks = {
        name: torch.ones_like(t, dtype=torch.bool) if (a := allowed[name]) is None else a.to(t.device)
        for name, t in scored.items()
    }
    pool = torch.cat(
        [scored[name][masks[name]].to(torch.promote_types(scored[name].dtype, torch.float32)).cpu() for name in scored]
    )
    chosen = top_k(pool, total, stream)
    kept, start = {}, 0
    for name, candidate in masks.items():
        count = int(candidate.sum())
        layer = torch.zeros_like(candidate, device="cpu")
        layer[candidate.cpu()] = chosen[start : start + count]
        kept[name] = layer
        start += count
    return kept
