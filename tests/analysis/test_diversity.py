"""Diversity by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lehr import LehrError
from lehr.analysis.diversity import diversity


def test_by_hand_and_by_numpy():
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(3, 50, 4, generator=generator), torch.randint(0, 4, (50,), generator=generator)
    found = diversity(logits, targets)
    chosen = logits.argmax(-1).numpy()
    p = logits.double().softmax(-1).numpy()
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert found.disagreement == pytest.approx(np.mean([(chosen[i] != chosen[j]).mean() for i, j in pairs]))
    both = [*pairs, *((j, i) for i, j in pairs)]
    assert found.kl == pytest.approx(np.mean([(p[i] * np.log(p[i] / p[j])).sum(-1).mean() for i, j in both]))
    wrong = chosen != targets.numpy()
    assert found.error_correlation == pytest.approx(np.mean([np.corrcoef(wrong[i], wrong[j])[0, 1] for i, j in pairs]))


def test_copies_agree_and_faultless_members_have_no_correlation():
    one = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    copies = diversity(torch.stack([one, one]), torch.tensor([0, 0]))
    assert (copies.disagreement, copies.kl, copies.error_correlation) == (0.0, 0.0, pytest.approx(1.0))
    assert math.isnan(diversity(torch.stack([one, one]), torch.tensor([0, 1])).error_correlation)
    other = torch.tensor([[0.0, 3.0], [0.0, 3.0]])  # wrong at the first: of three pairs one has errors on both sides
    assert diversity(torch.stack([one, other, other]), torch.tensor([0, 1])).error_correlation == pytest.approx(1.0)
    with pytest.raises(LehrError, match="an ensemble of 1 has no pairs"):
        diversity(one[None], torch.tensor([0, 1]))
