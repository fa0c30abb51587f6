"""Every corruption against its reference, and what holds for all of them."""

import numpy as np
import pytest

from lehr.analysis.corruptions import BENCHMARK, DEVIATIONS, PUBLISHED, SEVERITIES, corruptions
from tests.analysis.corruptions.references import ROWS, draws_for, pictures

NAMES = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
]

# The mean absolute change grows with severity but for these, by their published constants.
NOT_GROWING = {
    "glass_blur": "severity 3 blurs more than 4, which moves pixels twice; severity 1 to 3 move them alike",
    "motion_blur": "severities 3 and 4 have the same sigma, and a longer kernel adds next to nothing",
    "frost": "from severity 3 on the image itself is dimmed, which undoes some of the brightening",
    "elastic_transform": "the affine map, which moves most, shrinks with severity; the bending gets finer",
    "spatter": "severities 1 to 3 are water, 4 and 5 are mud: two scales",
    "saturate": "severities 1 and 2 take colour away, 3 to 5 add it: two scales",
}


def test_every_registered_name_has_a_row_and_the_order_is_the_published_one():
    assert list(corruptions) == list(ROWS) == NAMES == list(PUBLISHED)
    assert list(BENCHMARK) == NAMES[:15]
    assert set(DEVIATIONS) <= set(NAMES)
    assert "not comparable" in DEVIATIONS["frost"]


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_published_formula(name, severity):
    images = pictures(2) / 255
    result = corruptions[name](images, severity, draws_for(name, severity, 2, start=3))
    for i, image in enumerate(images):
        expected = ROWS[name](image, severity, draws_for(name, severity, 1, start=3 + i)).clip(0, 1)
        assert abs(result[i] - expected).max() < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_it_is_pure_and_keeps_shape_type_and_range(name):
    images = pictures(2) / 255
    before = images.copy()
    result = corruptions[name](images, 4, draws_for(name, 4, 2))
    assert (images == before).all()
    assert result is not images
    assert result.dtype == np.float64
    assert result.shape == images.shape
    assert result.min() >= 0
    assert result.max() <= 1
    assert (result == corruptions[name](images, 4, draws_for(name, 4, 2))).all()
    single = corruptions[name](images.astype(np.float32), 4, draws_for(name, 4, 2))
    assert single.dtype == np.float32
    assert abs(single - result).mean() < 1e-3
    assert corruptions[name](images[:0], 4, draws_for(name, 4, 0)).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("name", NAMES)
def test_more_severe_changes_more(name):
    images = pictures(64) / 255
    change = [abs(corruptions[name](images, s, draws_for(name, s, 64)) - images).mean() for s in SEVERITIES]
    assert min(change) > 0.001
    if name not in NOT_GROWING:
        assert (np.diff(change) > 0).all()


@pytest.mark.parametrize("shape", [(16, 16), (28, 28), (64, 64), (20, 40)])
@pytest.mark.parametrize("name", NAMES)
def test_other_sizes(name, shape):
    images = pictures(1, *shape) / 255
    for severity in (1, 3, 5):
        result = corruptions[name](images, severity, draws_for(name, severity, 1))
        assert result.shape == images.shape
        assert np.isfinite(result).all()
