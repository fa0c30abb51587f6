"""SynFlow: what flows through a weight when all weights are positive and every input is one."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lehr.base.errors import LehrError, require
from lehr.scores.gradients import gradient, leaves, normalised_by
from lehr.scores.registry import Batches, DataScore, scores


def synflow(model: nn.Module, parameters: Mapping[str, Tensor], seed: int, batches: Batches) -> dict[str, Tensor]:
    """``|w| * dR/d|w|``, R the sum of the outputs for an input of ones of the network of absolute values (Tanaka et al. 2020, 2006.05467).

    In fp64, as R grows with every layer. Batch-norm uses its running statistics, absolute values of everything. Of a chain of layers
    without biases and batch-norm every layer's scores sum to R; chosen in one step the widest layers would be emptied, so `select`
    asks 100 times.

    Args:
        model, parameters, seed: as for `lehr.scores.snip`.
        batches: for the shape of an input alone; no number of the data is used.

    Raises:
        LehrError: there is no batch, its inputs are tokens, or R is too large even for fp64.

    >>> chain = nn.Sequential(nn.Linear(3, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    >>> own = {name: p.detach() for name, p in chain.named_parameters()}
    >>> found = synflow(chain, own, 0, [(torch.zeros(1, 3), torch.zeros(1))])
    >>> bool(torch.isclose(found["0.weight"].sum(), found["2.weight"].sum()))
    True
    """
    if not len(batches):
        raise LehrError("data is empty: SynFlow needs one batch, for the shape of an input")
    require(
        batches[0][0].is_floating_point(),
        "the network takes tokens, and SynFlow asks it for an input of ones: use another score",
    )
    positive = copy.deepcopy(model).double()
    with torch.no_grad():
        for tensor in [*positive.parameters(), *positive.buffers()]:
            if tensor.is_floating_point():
                tensor.abs_()
    weights = leaves({name: weight.double().abs() for name, weight in parameters.items()})
    ones = torch.ones_like(batches[0][0][:1], dtype=torch.float64)
    with normalised_by(positive, "running"), torch.enable_grad():
        total = functional_call(positive, weights, (ones,)).sum()
        if not torch.isfinite(total):
            raise LehrError(
                "the network is too deep for SynFlow: the sum of its outputs overflows fp64; use another score"
            )
        found = gradient(total, weights)
    return {name: (found[name] * weights[name]).detach() for name in parameters}


scores.add("synflow", DataScore(synflow, rounds=100))
