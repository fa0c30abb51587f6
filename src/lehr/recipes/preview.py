"""`preview`: how many weights take part over a run, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lehr.base.errors import LehrError
from lehr.masks import Mask
from lehr.recipes.method import DENSE, annealing_steps, build_method
from lehr.runs import TuneSettings
from lehr.sparsify.shard import Shard
from lehr.training.learning_rates import schedule_of

WEIGHTS = 20_000  # in the stand-in for a network: enough for a density of 1 in 10,000
POINTS = 100


@dataclass(frozen=True)
class Moment:
    """One step of the run: what its passes look like."""

    step: int
    epoch: float
    density: float  # expected fraction of weights that take part
    target: float  # density of the target
    temperature: float  # mean chance of a weight outside the target
    lr: float


def preview(settings: TuneSettings, steps_per_epoch: int = 100) -> list[Moment]:
    """Density, temperature and learning rate at a hundred moments of the run, on a stand-in of 20,000 weights.

    The path depends on the sparsity and not on the network. Raises `LehrError` as `tune` would.

    >>> values = {"data": "d", "model": "m", "parent": "", "parent_digest": "", "epochs": 2, "sparsity": 0.9}
    >>> moments = preview(TuneSettings(**values, method="temperature-annealing", anneal="0.5"))
    >>> round(moments[0].density, 3), round(moments[-1].density, 3)
    (0.55, 0.1)
    """
    if settings.method == DENSE:
        raise LehrError("dense is the control and has no path to preview: give another --method")
    total = max(1, settings.epochs * steps_per_epoch)
    steps = annealing_steps(settings, steps_per_epoch, total)
    shuffled = torch.randperm(WEIGHTS, generator=torch.Generator().manual_seed(0))
    weights = {"weight": (shuffled + 1.0) / WEIGHTS}
    mask = Mask({"weight": shuffled >= round(settings.sparsity * WEIGHTS)})
    method = build_method(settings, mask, steps)
    shard = Shard("weight", 0, WEIGHTS, (WEIGHTS,))
    rate = schedule_of(settings, steps_per_epoch)
    moments = []
    chosen_at = -1
    for step in sorted({round(i * total / POINTS) for i in range(POINTS + 1)} | {method.steps}):
        due = next((t for t in range(step, chosen_at, -1) if method.due(t)), chosen_at)
        if due > chosen_at:
            method.retarget(due, weights, weights)  # of gradients only how many there are is seen here
            chosen_at = due
        target = method.target["weight"]
        probability = method.chance(step, shard).probability(target)
        outside = probability[~target]
        moments.append(
            Moment(
                step=step,
                epoch=step / steps_per_epoch,
                density=float(probability.double().mean()),
                target=float(target.double().mean()),
                temperature=float(outside.mean()) if len(outside) else 0.0,
                lr=settings.lr * rate(min(step, total - 1), total),
            )
        )
    return moments


def as_rows(moments: list[Moment]) -> list[dict[str, Any]]:
    """Plain values."""
    return [vars(moment) for moment in moments]
