"""`select`: choose a subnetwork of a network."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lehr.base.errors import LehrError, check_fraction, require, unknown
from lehr.masks import budget
from lehr.masks.choice import Cuts, best_n_of_m, fold_all, fold_groups, keep_best, spread_groups
from lehr.masks.granules import check_granularity, granules, n_of_m_sparsity
from lehr.masks.heads import head_granularity
from lehr.masks.mask import Mask
from lehr.masks.targets import Modules, target_parameters, whole_parameters
from lehr.scores import Batches, DataScore, Score, scores

Scope = Literal["global", "layer"]
Distribution = Literal["uniform", "erk"]


REMEDY = "lower it, use scope='layer' (--scope layer), or in Python pass allow_empty_layers=True to lehr.select"


def select(
    model: nn.Module,
    sparsity: float | None = None,
    *,
    score: str | Score | DataScore | Mapping[str, Tensor] = "magnitude",
    scope: Scope = "global",
    distribution: Distribution = "uniform",
    granularity: str = "unstructured",
    within: Mask | None = None,
    target_modules: Modules = None,
    exclude_modules: Modules = None,
    seed: int = 0,
    allow_empty_layers: bool = False,
    data: Iterable[tuple[Tensor, Tensor]] | None = None,
    rounds: int | None = None,
) -> Mask:
    """Choose the most important ``round((1 - sparsity) N)`` of N granules; the model is untouched.

    A granule is what `granularity` says: a weight, a block, a filter, a head. Its importance is the mean
    over its weights.

    Args:
        model: any network; by default every Linear and Conv weight counts, the head included (with
            ``filter`` the last layer in the order of the modules is left out, whose outputs are as a rule
            the network's own; name layers with `target_modules` where they are not).
        sparsity: fraction in [0, 1) of the N granules to leave out; with N:M None, or ``1 - N/M``.
        score: importance: a name (``magnitude``, ``random``; with `data` ``snip``, ``grasp``, ``synflow``), a function
            as in `lehr.scores`, or ready tensors by parameter name.
        scope: ``"global"`` ranks all weights together; ``"layer"`` ranks within each layer, which
            keeps the share that `distribution` gives it.
        distribution: with ``scope="layer"``: ``"uniform"`` or ``"erk"``.
        granularity: what is chosen as one: ``"unstructured"``, ``"2:4"`` (2 kept of every 4 along the
            input, any N and M), ``"block:4x1"`` (outputs x inputs), ``"filter"`` (or ``"neuron"``),
            ``"head"`` (of attention modules; nothing else is then covered).
        within: a former mask; only its weights can be chosen. A score of 0 never means "already pruned".
        target_modules, exclude_modules: which modules, as in PEFT.
        seed: decides ties and the random score.
        allow_empty_layers: otherwise a layer left without a weight is refused by name.
        data: a few batches of (inputs, targets), all of which are used, for scores that look at them.
        rounds: in how many steps; after step k of n the fraction ``density^(k/n)`` is left, and what is out counts as zero for
            the next. By default one, and 100 with ``synflow``; ``score="snip", rounds=100`` is iterative SNIP.

    Raises:
        LehrError: a score without the data it needs; sparsity out of range, unknown names, NaN weights or scores, an emptied layer, shapes
            that do not divide into granules, or more granules asked for than `within` has.

    >>> net = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 2))
    >>> mask = select(net, 0.9, scope="layer")
    >>> mask.kept, list(mask)
    (12, ['0.weight', '1.weight'])
    """
    granularity = check_granularity(granularity)
    sparsity = given_sparsity(sparsity, granularity)
    if scope not in ("global", "layer"):
        raise unknown("scope", scope, ["global", "layer"])
    if distribution not in budget.DISTRIBUTIONS:
        raise unknown("distribution", distribution, budget.DISTRIBUTIONS)
    if distribution != "uniform" and scope == "global":
        raise LehrError(
            f"distribution is {distribution!r} and scope 'global', which ranks all layers together: use scope='layer'"
        )
    if n_of_m_sparsity(granularity) is not None and (scope, distribution) != ("global", "uniform"):
        raise LehrError(f"{granularity} leaves nothing to share out: leave scope and distribution out")
    asked = scores[score] if isinstance(score, str) else score
    batches = _batches(score, asked, data)
    if rounds is None:
        rounds = 1 if n_of_m_sparsity(granularity) is not None else getattr(asked, "rounds", 1)
    require(type(rounds) is int and rounds >= 1, f"rounds is {rounds!r}: give a whole number from 1")
    if rounds > 1:
        if n_of_m_sparsity(granularity) is not None or isinstance(score, Mapping):
            what = "ready scores do" if isinstance(score, Mapping) else f"{granularity} does"
            raise LehrError(f"rounds is {rounds}, and what {what} not change from one to the next: leave it out")
        told = {
            "score": score, "scope": scope, "distribution": distribution, "granularity": granularity, "seed": seed,
            "target_modules": target_modules, "exclude_modules": exclude_modules, "data": batches or None,
        }  # fmt: skip
        return _in_rounds(model, sparsity, rounds, within, allow_empty_layers, told)
    names = list(target_parameters(model, target_modules, exclude_modules))
    if granularity == "filter" and target_modules is None and len(names) > 1:
        names = [name for name in names if name != _last_layer(model)]
    texts = head_granularity(model, names) if granularity == "head" else dict.fromkeys(names, granularity)
    names = [name for name in names if name in texts]
    if within is not None:
        within.check(model)
        names = [name for name in names if name in within]
        if not names:
            raise LehrError(
                "the mask given as `within` covers none of the target layers: name them with target_modules"
            )
    weights = whole_parameters(model, names)
    importance = _importance(model, weights, asked, seed, batches)
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    cuts = {name: granules(texts[name], name, shapes[name]) for name in names}
    scored = fold_groups(importance, cuts)
    allowed: dict[str, Tensor | None] = dict.fromkeys(scored)
    if within is not None:
        allowed |= fold_all({name: within[name] for name in names}, cuts)
    if any(cut.n for cut in cuts.values()):
        kept = best_n_of_m(scored, allowed, cuts, seed)
        wanted = sum(cut.count // cut.dims[cut.along] * cut.n for cut in cuts.values())
        if sum(int(group.sum()) for group in kept.values()) < wanted:
            raise LehrError(
                f"the mask given as `within` leaves too few weights for {granularity}: it needs all groups full"
            )
    else:
        kept = _choose(scored, allowed, _shapes_of_groups(cuts, shapes), sparsity, scope, distribution, seed)
    mask = Mask(spread_groups(kept, cuts, shapes), texts)
    if not allow_empty_layers:
        check_layers(mask, sparsity)
    return mask


def check_layers(mask: Mask, sparsity: float, remedy: str = REMEDY) -> None:
    """Raise if a layer is left without a weight, naming it, and what to do.

    >>> import torch
    >>> check_layers(Mask({"weight": torch.tensor([True, False])}), 0.5)
    """
    empty = [row.name for row in mask.layers() if not row.kept]
    if empty:
        raise LehrError(
            f"sparsity {sparsity:g} leaves no weight in {', '.join(empty[:3])}{' and others' if len(empty) > 3 else ''}: "
            + remedy
        )


def _last_layer(model: nn.Module) -> str:
    """The weight of the last Linear or Conv in the order of the modules, whether or not it can be pruned."""
    named = {name for name, module in model.named_modules() if isinstance(module, (nn.Linear, _ConvNd))}
    return [f"{name}.weight" for name, _ in model.named_modules() if name in named][-1]


def given_sparsity(sparsity: float | None, granularity: str) -> float:
    """The sparsity, which an N:M granularity brings along.

    >>> given_sparsity(None, "2:4")
    0.5
    """
    own = n_of_m_sparsity(granularity)
    if sparsity is None:
        if own is None:
            raise LehrError("sparsity is missing: give a fraction in [0, 1), such as 0.9")
        return own
    check_fraction("sparsity", sparsity)
    if own is not None and abs(own - sparsity) > 1e-9:
        raise LehrError(
            f"sparsity is {sparsity:g} and the granularity {granularity} is {own:g} sparse by itself: leave it out"
        )
    return float(sparsity)


def _shapes_of_groups(cuts: Cuts, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shape that a distribution by layer goes by: of the first parameter of each group."""
    result: dict[str, tuple[int, ...]] = {}
    for name, cut in cuts.items():
        result.setdefault(cut.group, shapes[name])
    return result


def _batches(name: object, score: object, data: Iterable[tuple[Tensor, Tensor]] | None) -> Batches:
    """What a score is given to look at: nothing where it does not."""
    if data is None:
        if isinstance(score, DataScore):
            called = name if isinstance(name, str) else "this score"
            raise LehrError(f"{called} looks at data and there is none: give data=, a few batches of (inputs, targets)")
        return ()
    if isinstance(name, str) and not isinstance(score, DataScore):
        raise LehrError(f"{name} does not look at data: leave it out")
    batches = list(data)
    for batch in batches:
        pair = isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)
        require(pair, f"data has a {type(batch).__name__} in it: give batches of (inputs, targets)")
    require(bool(batches), "data is empty: give at least one batch of (inputs, targets)")
    return batches


def _in_rounds(
    model: nn.Module, sparsity: float, rounds: int, within: Mask | None, allow_empty_layers: bool, told: dict[str, Any]
) -> Mask:
    """`select` again and again, on a copy in which what is out is zero."""
    own = copy.deepcopy(model)
    if within is not None:
        within.apply_(own)
    start = 1.0 if within is None else within.density
    for k in range(1, rounds + 1):
        last = k == rounds
        density = start * ((1.0 - sparsity) / start) ** (k / rounds)
        within = select(
            own, sparsity if last else max(0.0, 1.0 - density), within=within, rounds=1,
            allow_empty_layers=allow_empty_layers or not last, **told,
        )  # fmt: skip
        within.apply_(own)
    assert within is not None
    return within


def _importance(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    score: Score | DataScore | Mapping[str, Tensor],
    seed: int,
    batches: Batches,
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
        given: Any = {"batches": batches} if len(batches) else {}
        importance = score(model, weights, seed, **given)
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
        what = "weights" if sizes == {name: prod(shape) for name, shape in shapes.items()} else "granules"
        raise LehrError(
            f"sparsity {sparsity:g} keeps {total} {what} and the mask given as `within` has "
            f"{sum(caps.values())}: ask for more sparsity"
        )
    if scope == "global":
        return keep_best(scored, allowed, total, seed)
    shares = budget.DISTRIBUTIONS[distribution](shapes, sparsity, sizes)
    counts = budget.largest_remainder(shares, total, caps)
    return {name: keep_best({name: scored[name]}, {name: allowed[name]}, counts[name], seed)[name] for name in scored}
