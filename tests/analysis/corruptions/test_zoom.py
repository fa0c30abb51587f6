import numpy as np
import pytest

from lehr.analysis.corruptions.zoom import enlarge
from tests.analysis.corruptions.references import zoomed


@pytest.mark.parametrize("side", [16, 28, 32, 64])
def test_it_enlarges_as_scipy_does(side):
    image = np.random.default_rng(0).uniform(size=(side, side, 3))
    for factor in [*np.arange(1, 1.26, 0.01), 1.25, 1.75, 2.25]:
        assert abs(enlarge(image[None], factor)[0] - zoomed(image, factor)).max() < 1e-12


def test_by_hand():
    row = np.arange(8.0).reshape(1, 1, 8)
    assert enlarge(row, 1).tolist() == row.tolist()
    assert np.allclose(enlarge(row, 2)[0, 0], 2 + 3 * np.arange(8) / 7)  # pixels 2 to 5, first on first, last on last
