import numpy as np
import pytest

from lehr.analysis.corruptions.colour import brightness, contrast, recolour, saturate
from tests.analysis.corruptions.references import draws_for


def flat(*colour):
    return np.broadcast_to(np.array(colour, float), (1, 16, 16, 3))


@pytest.mark.parametrize(
    ("function", "severity", "before", "after"),
    [
        (brightness, 2, (0.2, 0.4, 0.3), (0.25, 0.5, 0.375)),  # the value goes from 0.4 to 0.5, the ratios stay
        (brightness, 5, (0.9, 0.45, 0.9), (1.0, 0.5, 1.0)),
        (brightness, 1, (0, 0, 0), (0.05, 0.05, 0.05)),
        (saturate, 2, (0.5, 0.25, 0.0), (0.5, 0.475, 0.45)),  # saturation 1 becomes 0.1
        (saturate, 4, (0.5, 0.4, 0.45), (0.5, 0.25, 0.375)),  # 0.2 becomes 0.5
        (saturate, 4, (0.5, 0.5, 0.5), (0.5, 0.45, 0.45)),  # grey has the hue of red
        (saturate, 5, (0, 0, 0), (0, 0, 0)),
        (contrast, 5, (0.3, 0.6, 0.9), (0.3, 0.6, 0.9)),
    ],
)
def test_by_hand(function, severity, before, after):
    result = function(flat(*before), severity, draws_for(function.__name__, severity, 1))
    assert np.allclose(result, after)


def test_nothing_changes_nothing():
    images = np.random.default_rng(0).uniform(size=(2, 16, 16, 3))
    assert np.allclose(recolour(images), images)
