"""Are predicted probabilities honest? Reliability by bins, and one temperature that mends them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 15  # of confidence, as in the tables of the ensemble literature


@dataclass(frozen=True)
class Bin:
    """Predictions whose highest probability lies in ``(low, high]``: how many, how sure on average, how often right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def reliability(logits: Tensor, targets: Tensor, bins: int = BINS) -> list[Bin]:
    """The reliability diagram of predictions (N, classes) over equal bins of the highest probability (Guo et al. 2017, 1706.04599).

    ``ECE = sum_b count_b / N |accuracy_b - confidence_b|``. Empty bins have 0 for both.

    >>> rows = reliability(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]), bins=2)
    >>> [(row.count, row.accuracy) for row in rows]
    [(0, 0.0), (2, 0.5)]
    """
    confidence, chosen = logits.double().softmax(-1).max(-1)
    right = (chosen == targets).double()
    place = (confidence * bins).ceil().sub(1).clamp(0, bins - 1).long()
    count = torch.bincount(place, minlength=bins)
    sums = [torch.bincount(place, weights=weights, minlength=bins) for weights in (confidence, right)]
    return [
        Bin(b / bins, (b + 1) / bins, int(count[b]), *(float(one[b]) / max(1, int(count[b])) for one in sums))
        for b in range(bins)
    ]


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The T > 0 for which ``softmax(z / T)`` has the least NLL (Guo et al. 2017); between 1/100 and 100.

    Args:
        logits: (N, classes), of data that nothing else was fitted on.
        targets: (N,).

    >>> sure = torch.tensor([[8.0, 0.0]]).repeat(4, 1)
    >>> round(fit_temperature(sure, torch.tensor([0, 0, 0, 1])), 2)  # 3 of 4 right: sigmoid(8 / T) = 0.75
    7.28
    """
    from scipy.optimize import minimize_scalar

    exact = logits.double()

    def nll(log_t: float) -> float:
        return float(F.cross_entropy(exact / torch.tensor(log_t).double().exp(), targets))

    limit = float(torch.tensor(100.0).log())
    found = minimize_scalar(nll, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-6})
    return float(torch.tensor(float(found.x)).double().exp())
