import numpy as np

from lehr.analysis.corruptions import SEVERITIES
from lehr.analysis.corruptions.digital import jpeg_compression, pixelate
from tests.analysis.corruptions.references import area_resized, draws_for, pictures


def test_pixelate_of_half_a_side_by_hand():
    assert area_resized(np.array([[0.0, 2, 4, 9]]), 1, 2).tolist() == [[1, 7]]
    assert area_resized(np.array([[1.0, 7]]), 1, 4).tolist() == [[1, 1, 7, 7]]


def test_pixelate_keeps_only_the_pixels_of_the_small_image():
    images = pictures(1) / 255
    for severity, side in zip(SEVERITIES, (30, 28, 27, 24, 20), strict=True):
        result = pixelate(images, severity, draws_for("pixelate", severity, 1))[0]
        equal = (result[:, 1:] == result[:, :-1]).all(axis=(0, 2))
        assert equal.sum() == 32 - side


def test_jpeg_loses_colour_detail_first():
    x = np.indices((32, 32))[1] % 2
    grey = np.repeat(x[None, ..., None], 3, axis=3) / 1.0
    colour = np.stack([x, 0 * x + 0.5, 1 - x], axis=-1)[None] / 1.0
    kept = [jpeg_compression(images, 3, draws_for("jpeg_compression", 3, 1)).std() for images in (grey, colour)]
    assert kept[0] > 0.95 * grey.std()
    assert kept[1] < 0.5 * colour.std()
