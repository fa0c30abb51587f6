"""GraSP: how much taking a weight out would lower the flow of gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lehr.scores.gradients import BatchNorm, Loss, cross_entropy, gradient, leaves, losses, mean_gradient, normalised_by
from lehr.scores.registry import Batches, DataScore, scores


def grasp(
    model: nn.Module,
    parameters: Mapping[str, Tensor],
    seed: int,
    batches: Batches,
    *,
    batch_norm: BatchNorm = "batch",
    loss: Loss = cross_entropy,
    temperature: float = 200.0,
) -> dict[str, Tensor]:
    """``w * Hg``, g the gradient and H the Hessian of the mean loss over batches (Wang et al. 2020, 2002.07376).

    Taking w out changes ``g'g`` by about ``-2 w Hg``: a weight with a large score is one whose loss would lower it, and is kept. The
    paper writes the score with the other sign and removes the largest. No absolute value: scores below 0 are the least important.

    Args:
        model, parameters, seed, batches, batch_norm, loss: as for `lehr.scores.snip`; the paper takes 10 images of each class.
        temperature: what logits are divided by.

    Raises:
        LehrError: the network cannot be run on the batches.

    >>> layer = nn.Linear(2, 2, bias=False)
    >>> batch = (torch.randn(4, 2), torch.zeros(4, dtype=torch.long))
    >>> grasp(layer, {"weight": layer.weight.detach()}, 0, [batch])["weight"].shape
    torch.Size([2, 2])
    """
    weights = leaves(parameters)
    # Of attention only the plain form has second derivatives.
    with normalised_by(model, batch_norm), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        # The gradient of all batches first: g'Hg of the whole is not the sum of those of its parts.
        total = mean_gradient(model, weights, batches, loss, temperature)
        product = {name: torch.zeros_like(weight) for name, weight in parameters.items()}
        for one in losses(model, weights, batches, loss, temperature):
            flow = sum((total[name] * g).sum() for name, g in gradient(one, weights, create_graph=True).items())
            assert isinstance(flow, Tensor)
            for name, h in gradient(flow, weights).items():
                product[name] += h / len(batches)
    return {name: parameters[name] * product[name] for name in parameters}


scores.add("grasp", DataScore(grasp))
