"""Distributions: on mid grey, where nothing is clipped, moments are the published ones."""

import numpy as np
import pytest

from lehr.analysis.corruptions import SEVERITIES
from lehr.analysis.corruptions.noise import (
    GAUSSIAN,
    IMPULSE,
    SHOT,
    SPECKLE,
    gaussian_noise,
    impulse_noise,
    shot_noise,
    speckle_noise,
)
from tests.analysis.corruptions.references import draws_for

COUNT = 40  # images of 3,072 values: a mean is good to 0.3 % of the deviation, a deviation to 0.2 %


def on_grey(function, severity, level):
    images = np.full((COUNT, 32, 32, 3), level)
    return function(images, severity, draws_for(function.__name__, severity, COUNT))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_gaussian_noise_has_the_published_deviation(severity):
    result, sigma = on_grey(gaussian_noise, severity, 0.5), GAUSSIAN[severity - 1]
    assert result.mean() == pytest.approx(0.5, abs=0.02 * sigma)
    assert result.std() == pytest.approx(sigma, rel=0.02)
    channels = result[..., 0] - 0.5, result[..., 1] - 0.5
    assert abs((channels[0] * channels[1]).mean()) < 0.03 * sigma**2  # each channel has noise of its own
    assert abs((channels[0][:, 1:] * channels[0][:, :-1]).mean()) < 0.03 * sigma**2
    assert abs((channels[0][1:] * channels[0][:-1]).mean()) < 0.03 * sigma**2  # and each image


@pytest.mark.parametrize("severity", SEVERITIES)
def test_shot_noise_has_poisson_mean_and_variance(severity):
    photons = SHOT[severity - 1]
    for level in (0.1, 0.4):
        counts = on_grey(shot_noise, severity, level) * photons
        assert counts == pytest.approx(np.rint(counts), abs=1e-9)
        assert counts.mean() == pytest.approx(level * photons, rel=0.02)
        assert counts.var() == pytest.approx(level * photons, rel=0.03)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulse_noise_replaces_the_published_fraction(severity):
    result, fraction = on_grey(impulse_noise, severity, 0.5), IMPULSE[severity - 1]
    deviation = (fraction / 2 / result.size) ** 0.5
    assert set(np.unique(result)) == {0, 0.5, 1}
    assert (result == 0).mean() == pytest.approx(fraction / 2, abs=4 * deviation)
    assert (result == 1).mean() == pytest.approx(fraction / 2, abs=4 * deviation)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_speckle_noise_is_in_proportion(severity):
    for level in (0.1, 0.4):
        result = on_grey(speckle_noise, severity, level)
        assert result.mean() == pytest.approx(level, rel=0.02)
        assert result.std() == pytest.approx(SPECKLE[severity - 1] * level, rel=0.02)
