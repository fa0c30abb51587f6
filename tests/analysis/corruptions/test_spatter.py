import numpy as np

from lehr.analysis.corruptions.spatter import MUD, WATER, spatter, water
from tests.analysis.corruptions.references import draws_for


def test_no_drops_and_one_flat_flood_leave_the_image():
    assert (water(np.zeros((2, 16, 16))) == 0).all()
    both = np.zeros((2, 32, 32))
    both[1, 10:20, 10:20] = 200
    result = water(both)
    assert (result[0] == 0).all()
    assert result[1].max() == 1
    assert (result[1][both[1] == 0] == 0).all()


def test_water_brightens_in_its_colour_and_mud_covers_in_its_own():
    black, white = np.zeros((20, 32, 32, 3)), np.ones((20, 32, 32, 3))
    for severity in (1, 2, 3):
        wet = spatter(black, severity, draws_for("spatter", severity, 20))
        assert np.allclose(wet[..., 0] * WATER[1], wet[..., 1] * WATER[0])
        assert np.allclose(wet.max(axis=(1, 2)), 0.5 * WATER)
        assert (spatter(white, severity, draws_for("spatter", severity, 20)) == 1).all()
    for severity in (4, 5):
        dirty = spatter(white, severity, draws_for("spatter", severity, 20))
        cover = (1 - dirty) / (1 - MUD)
        assert np.allclose(cover, cover[..., :1])
        covered = cover[..., 0][cover[..., 0] > 0]
        assert covered.min() >= 0.8 - 1e-12
        assert 0.005 < (cover[..., 0] > 0).mean() < 0.2
