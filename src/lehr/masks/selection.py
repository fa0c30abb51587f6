"""`select`: choose a subnetwork of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import LehrError, check_fraction, unknown
from lehr.masks import budget, patterns
from lehr.masks.mask import Mask
from lehr.masks.targets import Modules, target_parameters, whole_parameters
from lehr.masks.topk import top_k
from lehr.scores import Score, scores

Scope = Literal["global", "layer"]
Distribution = Literal["uniform", "erk"]


def select(
    model: nn.Module,
    sparsity: float,
    *,
    score: str | Score | Mapping[str, Tensor] = "magnitude",
    scope: Scope = "global",
    distribution: Distribution = "uniform",
    granularity: str = "unstructured",
    within: Mask | None = None,
    target_modules: Modules = None,
    exclude_modules: Modules = None,
    seed: int = 0,
    allow_empty_layers: bool = False,
) -> Mask:
    """Choose the most important ``round((1 - sparsity) N)`` of N weights; the model is untouched.

    Args:
        model: any network; by default every Linear and Conv weight counts, the head included.
        sparsity: fraction in [0, 1) of the N target weights to leave out.
        score: importance: a name (``magnitude``, ``random``), a function as in `lehr.scores`, or
            ready tensors by parameter name.
        scope: ``"global"`` ranks all weights together; ``"layer"`` ranks within each layer, which
            keeps the share that `distribution` gives it.
        distribution: with ``scope="layer"``: ``"uniform"`` or ``"erk"``.
        granularity: what is chosen as one.
        within: a former mask; only its weights can be chosen. A score of 0 never means "already pruned".
        target_modules, exclude_modules: which modules, as in PEFT.
        seed: decides ties and the random score.
        allow_empty_layers: otherwise a layer left without a weight is refused by name.

    Raises:
        LehrError: sparsity out of range, unknown names, NaN weights or scores, an emptied layer, or
            more weights asked for than `within` has.

    >>> net = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 2))
    >>> mask = select(net, 0.9)
    >>> mask.kept, list(mask)
    (12, ['0.weight', '1.weight'])
    """
    check_fraction("sparsity", sparsity)
    if scope not in ("global", "layer"):
        raise unknown("scope", scope, ["global", "layer"])
    if distribution not in budget.DISTRIBUTIONS:
        raise unknown("distribution", distribution, budget.DISTRIBUTIONS)
    if distribution != "uniform" and scope == "global":
        raise LehrError(
            f"distribution is {distribution!r} and scope 'global', which ranks all layers together: use scope='layer'"
        )
    pattern = patterns.parse(granularity)
    names = list(target_parameters(model, target_modules, exclude_modules))
    if within is not None:
        within.check(model)
        names = [name for name in names if name in within]
        if not names:
            raise LehrError(
                "the mask given as `within` covers none of the target layers: name them with target_modules"
            )
    weights = whole_parameters(model, names)
    importance = _importance(model, weights, score, seed)
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    folded = {name: pattern.fold(tensor) for name, tensor in importance.items()}
    allowed = {name: None if within is None else pattern.fold(within[name]) for name in names}
    kept = _choose(folded, allowed, shapes, sparsity, scope, distribution, seed)
    mask = Mask({name: pattern.unfold(kept[name], shapes[name]) for name in names})
    empty = [row.name for row in mask.layers() if not row.kept]
    if empty and not allow_empty_layers:
        raise LehrError(
            f"sparsity {sparsity:g} leaves no weight in {', '.join(empty[:3])}{' and others' if len(empty) > 3 else ''}: "
            "lower it, use scope='layer', or pass allow_empty_layers=True"
        )
    return mask


def _importance(
    model: nn.Module, weights: Mapping[str, Tensor], score: str | Score | Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    for name, weight in weights.items():
        if weight.isnan().any():
            raise LehrError(f"{name} has NaN weights: importance is undefined, load a healthy checkpoint")
    if isinstance(score, Mapping):
        missing = [name for name in weights if name not in score]
        if missing:
            raise LehrError(f"the scores lack {missing[0]}: give a tensor for every target layer")
        importance = {name: score[name].detach() for name in weights}
    else:
        function = scores[score] if isinstance(score, str) else score
        importance = function(model, weights, seed)
    for name, tensor in importance.items():
        if tensor.shape != weights[name].shape:
            raise LehrError(f"the score of {name} has shape {tuple(tensor.shape)}, not {tuple(weights[name].shape)}")
        if tensor.isnan().any():
            raise LehrError(f"the score of {name} has NaN in it: a ranking is undefined")
    return importance


def _choose(
    scored: Mapping[str, Tensor],
    allowed: Mapping[str, Tensor | None],
    shapes: Mapping[str, tuple[int, ...]],
    sparsity: float,
    scope: Scope,
    distribution: Distribution,
    seed: int,
) -> dict[str, Tensor]:
    """One bool a granule by layer: which are kept, the exact number in all."""
    sizes = {name: tensor.numel() for name, tensor in scored.items()}
    caps = {name: size if (a := allowed[name]) is None else int(a.sum()) for name, size in sizes.items()}
    total = budget.total_kept(sparsity, sum(sizes.values()))
    if total > sum(caps.values()):
        raise LehrError(
            f"sparsity {sparsity:g} keeps {total} weights and the mask given as `within` has "
            f"{sum(caps.values())}: ask for more sparsity"
        )
    if scope == "global":
        return keep_best(scored, allowed, total, seed)
    shares = budget.DISTRIBUTIONS[distribution](shapes, sparsity)
    counts = budget.largest_remainder(shares, total, caps)
    return {name: keep_best({name: scored[name]}, {name: allowed[name]}, counts[name], seed)[name] for name in scored}


def keep_best(
    scored: Mapping[str, Tensor], allowed: Mapping[str, Tensor | None], total: int, seed: int
) -> dict[str, Tensor]:
    """The `total` best granules of all layers together: one bool a granule by layer.

    `scored` holds 1-d importance by layer, `allowed` 1-d bool or None (all) of the granules that may
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
