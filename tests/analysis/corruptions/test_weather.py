import numpy as np
import pytest

from lehr.analysis.corruptions import SEVERITIES
from lehr.analysis.corruptions.weather import SNOW, fog, luma, snow
from tests.analysis.corruptions.references import draws_for


def test_luma_by_hand():
    assert luma(np.array([[[[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]])) == pytest.approx(
        np.array([[[1.0, 0.587, 0.114]]])
    )


@pytest.mark.parametrize("severity", SEVERITIES)
def test_snow_on_black_is_the_whitening_and_flakes_that_are_the_same_upside_down(severity):
    black = np.zeros((20, 32, 32, 3))
    result = snow(black, severity, draws_for("snow", severity, 20))
    floor = (1 - SNOW[severity - 1][6]) * 0.5
    assert result.min() >= floor - 1e-12
    assert abs(result - result[:, ::-1, ::-1]).max() < 1e-12
    assert (result == result[..., :1]).all()  # flakes are white


def test_severity_one_has_few_flakes():
    """Noise of mean 0.1 and deviation 0.2 exceeds 0.6 with a chance of 0.6 %; the smear has a mean of what is left."""
    black = np.zeros((200, 32, 32, 3))
    flakes = snow(black, 1, draws_for("snow", 1, 200)) - 0.025
    assert 2 * 0.0062 * 0.6 < flakes.mean() < 2 * 0.0062 * 0.75


@pytest.mark.parametrize("severity", SEVERITIES)
def test_fog_never_exceeds_the_brightest_value(severity):
    images = np.random.default_rng(0).uniform(0, 0.7, (3, 32, 32, 3))
    result = fog(images, severity, draws_for("fog", severity, 3))
    assert (result.max(axis=(1, 2, 3)) <= images.max(axis=(1, 2, 3))).all()
    assert (result[..., 0] - result[..., 1]).std() < (images[..., 0] - images[..., 1]).std()
