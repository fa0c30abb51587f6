"""How much each layer minds being pruned alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from lehr.base.errors import LehrError, unknown
from lehr.masks import Mask, select, target_parameters
from lehr.masks.granules import check_granularity, n_of_m_sparsity
from lehr.masks.heads import head_granularity
from lehr.masks.targets import Modules
from lehr.scores import DataScore, scores


@dataclass(frozen=True)
class Sensitivity:
    """What is left of the network when one layer (or group of heads) is cut to each sparsity.

    `quality` has one number for each of the sparsities; None where the layer cannot be cut so.
    """

    layer: str
    weights: int
    quality: tuple[float | None, ...]


def sensitivity(
    model: nn.Module,
    sparsities: Sequence[float],
    judge: Callable[[nn.Module], float],
    *,
    score: str = "magnitude",
    granularity: str = "unstructured",
    target_modules: Modules = None,
    exclude_modules: Modules = None,
    seed: int = 0,
    step: Callable[[int], None] = lambda done: None,
) -> list[Sensitivity]:
    """Cut each layer alone, at once, to each sparsity, and judge; the network is as before afterwards.

    Args:
        model: a trained network.
        sparsities: fractions of the layer's granules to leave out.
        judge: gives one number for the network, such as its accuracy; higher is better.
        score, granularity, target_modules, exclude_modules, seed: as in `lehr.select`.
        step: is told how many judgements are done.

    >>> net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    >>> rows = sensitivity(net, [0.5], lambda m: float((m[0].weight != 0).sum()))
    >>> [(row.layer, row.quality) for row in rows]
    [('0', (8.0,)), ('1', (16.0,))]
    """
    granularity = check_granularity(granularity)
    if score not in scores:
        raise unknown("score", score, scores)
    if isinstance(scores[score], DataScore):
        raise LehrError(
            f"{score} looks at data, and here each layer is cut by its weights alone: use magnitude or random"
        )
    own = n_of_m_sparsity(granularity)
    if own is not None and list(sparsities) != [own]:
        raise LehrError(f"{granularity} is {own:g} sparse by itself: ask for the sparsity {own:g} alone")
    for name, parameter in model.named_parameters():
        if parameter.isnan().any():
            raise LehrError(f"{name} has NaN weights: importance is undefined, load a healthy checkpoint")
    names = list(target_parameters(model, target_modules, exclude_modules))
    if granularity == "head":
        names = list(head_granularity(model, names))
    prefixes = list(dict.fromkeys(_module(name, granularity) for name in names))
    rows, done = [], 0
    for prefix in prefixes:
        # Heads span the projections of one attention module, which are cut together.
        inside = rf"{re.escape(prefix)}(\..*)?" if granularity == "head" else re.escape(prefix)
        found: list[float | None] = []
        weights = 0
        for sparsity in sparsities:
            try:
                mask = select(
                    model, sparsity, score=score, granularity=granularity, target_modules=inside,
                    exclude_modules=None, seed=seed, allow_empty_layers=True,
                )  # fmt: skip
            except LehrError:
                found.append(None)  # the granules do not divide this layer
            else:
                weights = mask.size
                found.append(_judged(model, mask, judge))
            done += 1
            step(done)
        rows.append(Sensitivity(prefix, weights, tuple(found)))
    if all(value is None for row in rows for value in row.quality):
        raise LehrError(f"the granularity {granularity} fits no layer of the network: choose another")
    return rows


def _module(name: str, granularity: str) -> str:
    module = name.rpartition(".")[0]
    return module.rpartition(".")[0] if granularity == "head" and not name.endswith("in_proj_weight") else module


def _judged(model: nn.Module, mask: Mask, judge: Callable[[nn.Module], float]) -> float:
    former = {name: model.get_parameter(name).detach().clone() for name in mask}
    mask.apply_(model)
    try:
        return judge(model)
    finally:
        with torch.no_grad():
            for name, values in former.items():
                model.get_parameter(name).copy_(values)
