"""How unlike the members of an ensemble are."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import combinations

from torch import Tensor

from lehr.base.errors import require


@dataclass(frozen=True)
class Diversity:
    """Means over the pairs of members.

    Args:
        disagreement: share of inputs on which two members predict other classes, in [0, 1].
        kl: ``KL(p_i || p_j)`` of predicted probabilities in nats, both ways.
        error_correlation: Pearson's, of who is wrong where; 1 for copies, 0 for independent errors; over the pairs of members that each have errors and right answers, NaN where there is none.
    """

    disagreement: float
    kl: float
    error_correlation: float

    def as_dict(self) -> dict[str, float | None]:
        """Plain values; an undefined correlation is None."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


def diversity(logits: Tensor, targets: Tensor) -> Diversity:
    """Of predictions, logits (M, N, classes) with M from 2, and targets (N,) (measures as in Fort et al. 2019, 1912.02757).

    Raises:
        LehrError: there are fewer than two members.

    >>> import torch
    >>> one, two = torch.tensor([[9.0, 0.0], [0.0, 9.0]]), torch.tensor([[9.0, 0.0], [9.0, 0.0]])
    >>> diversity(torch.stack([one, two]), torch.tensor([0, 1])).disagreement
    0.5
    """
    require(len(logits) >= 2, f"an ensemble of {len(logits)} has no pairs: give at least 2 members")
    chosen = logits.argmax(-1)
    wrong = (chosen != targets).double()
    logs = logits.double().log_softmax(-1)
    pairs = list(combinations(range(len(logits)), 2))
    kl = [float((logs[i].exp() * (logs[i] - logs[j])).sum(-1).mean()) for a, b in pairs for i, j in ((a, b), (b, a))]
    correlations = [one for i, j in pairs if not math.isnan(one := _correlation(wrong[i], wrong[j]))]
    return Diversity(
        disagreement=sum(float((chosen[i] != chosen[j]).double().mean()) for i, j in pairs) / len(pairs),
        kl=sum(kl) / len(kl),
        error_correlation=sum(correlations) / len(correlations) if correlations else math.nan,
    )


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(a.square().sum().sqrt() * b.square().sum().sqrt())
    return float((a * b).sum()) / scale if scale else float("nan")
