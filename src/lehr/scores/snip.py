"""SNIP: how much the loss would change if a weight were taken out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lehr.scores.gradients import BatchNorm, Loss, cross_entropy, leaves, mean_gradient, normalised_by
from lehr.scores.registry import Batches, DataScore, scores


def snip(
    model: nn.Module,
    parameters: Mapping[str, Tensor],
    seed: int,
    batches: Batches,
    *,
    batch_norm: BatchNorm = "batch",
    loss: Loss = cross_entropy,
) -> dict[str, Tensor]:
    """``|w * dL/dw|``, L the mean loss over batches (Lee et al. 2019, 1810.02340).

    Args:
        model: as initialised, or with a former round's mask applied.
        parameters: which weights are judged, by name.
        seed: not used; nothing here is random.
        batches: (inputs, targets) of the training set; the paper takes one of 100 (MNIST) or 128 (CIFAR).
        batch_norm: ``batch`` normalises by the batch, as in training and in the paper's code; ``running`` by the running
            statistics, which a fresh network does not have yet.
        loss: of outputs and targets.

    Raises:
        LehrError: the network cannot be run on the batches.

    >>> layer = nn.Linear(2, 2, bias=False)
    >>> batch = (torch.ones(4, 2), torch.zeros(4, dtype=torch.long))
    >>> found = snip(layer, {"weight": layer.weight.detach()}, 0, [batch])["weight"]
    >>> found.shape, bool((found >= 0).all())
    (torch.Size([2, 2]), True)
    """
    weights = leaves(parameters)
    with normalised_by(model, batch_norm), torch.enable_grad():
        total = mean_gradient(model, weights, batches, loss)
    return {name: (parameters[name] * total[name]).abs() for name in parameters}


scores.add("snip", DataScore(snip))
