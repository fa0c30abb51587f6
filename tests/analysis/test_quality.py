import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lehr.analysis.quality import Quality, mean_quality, predictions, quality


def by_hand(logits: torch.Tensor, targets: torch.Tensor) -> tuple[float, float, float]:
    """ECE, Brier and NLL with loops, in float64."""
    p = logits.double().softmax(-1)
    confidence, guess = p.max(-1)
    ece = 0.0
    for b in range(15):
        inside = [i for i in range(len(p)) if b / 15 < confidence[i] <= (b + 1) / 15]
        if inside:
            right = sum(float(guess[i] == targets[i]) for i in inside) / len(inside)
            sure = sum(float(confidence[i]) for i in inside) / len(inside)
            ece += len(inside) / len(p) * abs(right - sure)
    brier = sum(
        sum((float(p[i, c]) - (c == int(targets[i]))) ** 2 for c in range(p.shape[1])) for i in range(len(p))
    ) / len(p)
    nll = -sum(math.log(float(p[i, targets[i]])) for i in range(len(p))) / len(p)
    return ece, brier, nll


@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), classes=st.integers(2, 6), scale=st.floats(0.1, 5))
def test_scores_are_those_written_out(seed, count, classes, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(count, classes, generator=generator)
    targets = torch.randint(classes, (count,), generator=generator)
    found = quality(logits, targets)
    ece, brier, nll = by_hand(logits, targets)
    assert found.ece == pytest.approx(ece, abs=2e-5)
    assert found.brier == pytest.approx(brier, abs=1e-5)
    assert found.nll == pytest.approx(nll, rel=1e-5)
    assert found.count == count


def test_a_confidence_that_rounds_to_1_is_in_the_last_bin():
    logits, targets = torch.tensor([[30.0, 0.0], [3.0, 0.0]]), torch.tensor([1, 0])
    sure = torch.tensor(3.0).sigmoid().item()
    assert quality(logits, targets).ece == pytest.approx(abs((1 + sure) / 2 - 0.5), abs=1e-6)


def test_a_frozen_norm_stays_frozen_when_a_network_is_judged():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3).eval())
    predictions(net, [(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))])
    assert [module.training for module in net] == [True, False]


def test_language_is_judged_place_by_place_and_the_mode_comes_back():
    net = nn.Embedding(5, 5)
    batches = [(torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.int64))]
    logits, targets = predictions(net, batches)
    assert logits.shape == (6, 5)
    assert targets.shape == (6,)
    assert net.training


def test_the_mean_over_corruptions_weighs_each_alike():
    a, b = Quality(0.2, 1.0, 0.1, 0.4, 10), Quality(0.6, 3.0, 0.3, 0.8, 1000)
    assert mean_quality([a, b]) == Quality(0.4, 2.0, 0.2, pytest.approx(0.6), 1010)
