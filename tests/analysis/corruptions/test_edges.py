import numpy as np
import pytest

from lehr.analysis.corruptions.edges import UNIT, box, canny, distance, equalised
from tests.analysis.corruptions import references


def drops(count, side=32, seed=0):
    rng = np.random.default_rng(seed)
    liquid = np.stack([references.blurred(rng.normal(0.65, 0.2, (side, side)), 0.9) for _ in range(count)])
    return np.floor(np.where(liquid < 0.7, 0, liquid.clip(0, 1)) * 255)


def test_edges_are_those_of_the_reference():
    images = drops(6)
    images[5] = np.random.default_rng(1).integers(0, 60, (32, 32))  # weak and strong edges side by side
    result = canny(images, 50, 150)
    for image, edges in zip(images, result, strict=True):
        assert {tuple(map(int, place)) for place in np.argwhere(edges)} == references.canny(image, 50, 150)
    assert 0 < result[5].sum() < (canny(images, 50, 50)[5]).sum()


def test_distances_are_those_of_the_reference():
    rng = np.random.default_rng(0)
    targets = rng.uniform(size=(5, 20, 24)) < np.array([0, 0.002, 0.01, 0.05, 0.3])[:, None, None]
    result = distance(targets, 20)
    for places, far in zip(targets, result, strict=True):
        edges = {tuple(map(int, place)) for place in np.argwhere(places)}
        assert (far == references.chamfer(edges, 20, 24, 20)).all()


def test_distances_by_hand():
    targets = np.zeros((1, 7, 7), bool)
    targets[0, 3, 3] = True
    result = distance(targets, 20)[0] / UNIT
    assert result[3].tolist() == [3, 2, 1, 0, 1, 2, 3]
    assert result[0, 0] == pytest.approx(3 * 1.4, abs=1e-4)
    assert result[1, 2] == result[4, 5] == pytest.approx(2.1969, abs=1e-4)


def test_levels_by_hand():
    image = np.array([[[1.0, 1, 1, 2], [2, 2, 3, 9]]])
    expected = [[[0, 0, 0, 153], [153, 153, 204, 255]]]  # 3, 4 and 5 of the five above the lowest
    assert equalised(image).tolist() == expected
    assert references.levelled(image[0].astype(int)).tolist() == expected[0]


def test_box_by_hand():
    image = np.zeros((1, 4, 4))
    image[0, 0, 0] = 1
    assert box(image)[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    image = np.zeros((1, 4, 4))
    image[0, 1, 1] = 1
    assert box(image)[0].tolist() == [[4, 2, 2, 0], [2, 1, 1, 0], [2, 1, 1, 0], [0, 0, 0, 0]]
