"""Exactly k of n, the largest first, ties by the seeded generator."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lehr.base.draws import Stream


def top_k(scores: Tensor, k: int, tie_breaker: Stream) -> Tensor:
    """Bool, 1-d: the k largest scores; among scores equal to the k-th, a seeded choice. Never ``>= threshold``.

    >>> from lehr.base.draws import Purpose
    >>> stream = Stream(0, "doc", Purpose.TIE)
    >>> top_k(torch.tensor([1.0, 3.0, 2.0]), 2, stream).tolist()
    [False, True, True]
    >>> int(top_k(torch.zeros(10), 4, stream).sum())
    4
    """
    n = scores.numel()
    if k <= 0 or k >= n:
        return torch.full((n,), k >= n, device=scores.device)
    # NumPy's introselect is several times faster than kthvalue on millions of weights.
    threshold = torch.as_tensor(np.partition(scores.cpu().numpy(), n - k)[n - k]).to(scores)
    kept = scores > threshold
    ties = (scores == threshold).nonzero().reshape(-1)
    missing = k - int(kept.sum())
    if missing < len(ties):
        order = torch.from_numpy(tie_breaker.bits(0, 4 * len(ties)).view("<u8").astype(np.int64)).to(ties.device)
        ties = ties[order.argsort(stable=True)[:missing]]
    kept[ties] = True
    return kept
