import numpy as np

from lehr.analysis.corruptions.motion import motion_blur, smear
from tests.analysis.corruptions.references import draws_for


def tail(degrees):
    """The pixels that a white pixel at (8, 8) reaches, with the brightest first."""
    images = np.zeros((1, 17, 17))
    images[0, 8, 8] = 1
    result = smear(images, 2, 2.0, np.array([degrees]))[0]
    places = np.argwhere(result)
    return [tuple(map(int, p)) for p in places[np.argsort(-result[tuple(places.T)], kind="stable")]]


def test_the_tail_lies_on_one_side_along_the_angle():
    assert tail(0) == [(8, 8), (8, 7), (8, 6), (8, 5), (8, 4)]
    assert tail(90) == [(8, 8), (7, 8), (6, 8), (5, 8), (4, 8)]
    assert tail(-45) == [(9, 7), (8, 8), (10, 6), (11, 5)]  # steps of 0.7: two of the five fall on (9, 7)


def test_weights_by_hand():
    line = np.zeros((1, 1, 9))
    line[0, 0, 4] = 1
    kernel = np.exp(-(np.array([0, 1, 2]) ** 2) / 2)
    expected = np.rint(255 * kernel[::-1] / kernel.sum())
    assert np.allclose(255 * smear(line, 1, 1.0, np.zeros(1))[0, 0], [0, 0, *expected, 0, 0, 0, 0])


def test_angles_are_even_between_minus_and_plus_45():
    angles = draws_for("motion_blur", 1, 2000).uniform(-45, 45)
    assert -45 <= angles.min() < -44
    assert 44 < angles.max() < 45
    assert abs(angles.mean()) < 2
    levels = motion_blur(np.full((1, 16, 16, 3), 0.2), 5, draws_for("motion_blur", 5, 1)) * 255
    assert np.allclose(levels, np.rint(levels), atol=1e-9)
