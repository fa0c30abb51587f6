"""Reliability agrees with the calibration error of torchmetrics, and the fitted temperature is the best one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lehr.analysis.calibration import fit_temperature, reliability
from lehr.analysis.quality import quality


@given(seed=st.integers(0, 1000), bins=st.sampled_from([1, 5, 15]))
def test_the_bins_make_up_the_calibration_error(seed, bins):
    from torchmetrics.functional.classification import multiclass_calibration_error

    generator = torch.Generator().manual_seed(seed)
    logits, targets = 3 * torch.randn(80, 4, generator=generator), torch.randint(0, 4, (80,), generator=generator)
    rows = reliability(logits, targets, bins)
    ece = sum(row.count / 80 * abs(row.accuracy - row.confidence) for row in rows)
    assert ece == pytest.approx(
        float(multiclass_calibration_error(logits.softmax(-1), targets, 4, n_bins=bins)), abs=1e-5
    )
    assert sum(row.count for row in rows) == 80
    assert all(row.low <= row.confidence <= row.high for row in rows if row.count)


def test_a_confidence_on_the_edge_of_two_bins_is_in_the_lower():
    rows = reliability(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]), bins=2)
    assert [(row.count, row.confidence, row.accuracy) for row in rows] == [(4, 0.5, 0.75), (0, 0.0, 0.0)]


def test_with_15_bins_it_is_the_score_of_quality():
    logits, targets = torch.randn(200, 5, generator=torch.Generator().manual_seed(1)), torch.arange(200) % 5
    ece = sum(row.count / 200 * abs(row.accuracy - row.confidence) for row in reliability(logits, targets))
    assert ece == pytest.approx(quality(logits, targets).ece, abs=1e-5)


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_no_other_temperature_is_better(scale):
    generator = torch.Generator().manual_seed(2)
    honest = torch.randn(500, 3, generator=generator)
    targets = torch.multinomial(honest.softmax(-1), 1, generator=generator).squeeze(1)
    t = fit_temperature(scale * honest, targets)
    assert t == pytest.approx(scale, rel=0.15)
    best = F.cross_entropy(scale * honest.double() / t, targets)
    for other in (0.9, 0.99, 1.01, 1.1):
        assert F.cross_entropy(scale * honest.double() / (t * other), targets) >= best
