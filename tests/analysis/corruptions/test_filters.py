import numpy as np
import pytest
from scipy import ndimage

from lehr.analysis.corruptions.filters import correlate, gaussian, padded

SCIPY = {"edge": "nearest", "symmetric": "reflect", "reflect": "mirror"}


@pytest.mark.parametrize("border", SCIPY)
@pytest.mark.parametrize("shape", [(2, 17, 19), (3, 16, 16, 3)])
def test_filters_are_those_of_scipy(shape, border):
    images = np.random.default_rng(0).uniform(size=shape)
    rest = [0] * (images.ndim - 3)
    for sigma in (0.05, 0.25, 1, 6.4):
        expected = ndimage.gaussian_filter(images, (0, sigma, sigma, *rest), mode=SCIPY[border], truncate=3)
        assert abs(gaussian(images, sigma, border=border, truncate=3) - expected).max() < 1e-15
    kernel = np.array([[1, 2, 0], [0, -3, 5], [7, 0, 1]])
    expected = ndimage.correlate(images, kernel.reshape(1, 3, 3, *[1] * len(rest)), mode=SCIPY[border])
    assert abs(correlate(images, kernel, border) - expected).max() < 1e-13


def test_padding_by_hand():
    line = np.array([[[1.0, 2, 3]]])
    assert padded(line, 0, 2, "edge").ravel().tolist() == [1, 1, 1, 2, 3, 3, 3]
    assert padded(line, 0, 2, "symmetric").ravel().tolist() == [2, 1, 1, 2, 3, 3, 2]
    assert padded(line, 0, 2, "reflect").ravel().tolist() == [3, 2, 1, 2, 3, 2, 1]


def test_a_blur_of_nothing_is_a_copy():
    images = np.ones((1, 16, 16))
    result = gaussian(images, 0.0)
    assert (result == images).all()
    assert result is not images
