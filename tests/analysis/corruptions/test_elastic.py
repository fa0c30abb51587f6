import numpy as np

from lehr.analysis.corruptions.elastic import affine_back, elastic_transform, sample
from tests.analysis.corruptions.references import draws_for, pictures


def test_places_between_and_outside_by_hand():
    line = np.array([[0.0, 10, 40]] * 2).reshape(1, 2, 3, 1)
    places = np.array([[[-1.0, -0.25, 0.5, 1.25, 3.0, 4.0]]])
    rows = np.zeros_like(places)
    assert sample(line, rows, places, mirror_edge=True).ravel().tolist() == [0, 0, 5, 17.5, 40, 10]
    assert sample(line, rows, places, mirror_edge=False).ravel().tolist() == [10, 2.5, 5, 17.5, 10, 0]


def test_the_way_back_of_three_points():
    rng = np.random.default_rng(0)
    corners = np.array([[26.0, 26], [26, 6], [6, 6]])
    moved = corners + rng.uniform(-2, 2, (5, 3, 2))
    back = affine_back(corners, moved)
    for matrix, points in zip(back, moved, strict=True):
        assert np.allclose(points @ matrix[:, :2].T + matrix[:, 2], corners)


def test_severity_one_is_affine_alone():
    """A slope stays a slope away from the edge, but for places rounded to 1/32 of a pixel."""
    y, x = np.indices((32, 32))
    slope = np.repeat(((y + 2 * x) / 100)[None, ..., None], 3, axis=3)
    result = elastic_transform(slope, 1, draws_for("elastic_transform", 1, 1))[0, 8:24, 8:24, 0]
    assert abs(np.diff(result, 2, axis=0)).max() < 4 * 3 / 64 / 100
    assert abs(np.diff(result, axis=1).mean() - 0.02) < 0.006


def test_displacements_are_as_large_as_published():
    """Blurred uniform noise: its deviation is height / sqrt(3) / (2 sqrt(pi) sigma), for a sigma of a pixel and more."""
    from lehr.analysis.corruptions.filters import gaussian

    noise = draws_for("elastic_transform", 4, 50).uniform(-1, 1, 32, 32, part=1)
    shift = 3.2 * gaussian(noise, 1.28, border="symmetric", truncate=3)
    assert abs(shift.std() / (3.2 / 3**0.5 / (2 * np.pi**0.5 * 1.28)) - 1) < 0.1


def test_it_moves_and_does_not_recolour():
    images = pictures(20) / 255
    for severity in (1, 5):
        result = elastic_transform(images, severity, draws_for("elastic_transform", severity, 20))
        assert (result.max(axis=(1, 2)) <= images.max(axis=(1, 2)) + 1e-12).all()
        assert abs(result.mean() - images.mean()) < 0.02
