import numpy as np

from lehr.analysis.corruptions import Draws
from lehr.analysis.corruptions.frost import FROST, GLASS, ICE, frost, frost_texture, needles


def test_the_texture_is_bluish_and_lies_between_glass_and_ice():
    texture = frost_texture(32, 32, Draws(0, "doc", 1, 0, 50))
    assert (texture >= GLASS - 1e-12).all()
    assert (texture <= ICE + 1e-12).all()
    red, green, blue = texture.mean(axis=(0, 1, 2))
    assert red < green < blue
    assert 0.4 < green < 0.8
    assert texture[..., 1].std(axis=(1, 2)).min() > 0.05  # no image is a flat veil


def test_needles_are_thin_and_their_number_follows_the_area():
    covered = [(needles(side, side, Draws(0, "doc", 1, 0, 30)) > 0).mean() for side in (32, 64)]
    assert 0.1 < covered[0] < 0.6
    assert abs(covered[1] / covered[0] - 1) < 0.3


def test_the_mixture_has_the_published_coefficients():
    images = np.full((1, 32, 32, 3), 0.2)
    for severity, (share, ice) in enumerate(FROST, start=1):
        draws = Draws(0, "frost", severity, 0, 1)
        assert np.allclose(frost(images, severity, draws), share * 0.2 + ice * frost_texture(32, 32, draws))
