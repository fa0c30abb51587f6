import numpy as np

from lehr.analysis.corruptions import SEVERITIES
from lehr.analysis.corruptions.blur import defocus_blur, gaussian_blur, glass_blur, soft_disk
from tests.analysis.corruptions.references import draws_for


def spike():
    images = np.zeros((1, 33, 33, 3))
    images[0, 16, 16] = 1
    return images


def test_disks_by_hand():
    assert np.allclose(soft_disk(0.3, 0.001)[2, 2], 1)
    assert np.allclose(soft_disk(1, 0.01)[2], [0, 0.2, 0.2, 0.2, 0])
    assert np.allclose(soft_disk(1.5, 0.01)[1:4, 1:4], 1 / 9)
    side = np.exp(-0.5 / 0.36)
    assert np.allclose(soft_disk(0.5, 0.6)[2], np.array([0, side, 1, side, 0]) / (1 + 2 * side) ** 2)


def test_blurs_of_a_spike_keep_its_sum_and_widen_with_severity():
    for function in (gaussian_blur, defocus_blur):
        widths = []
        for severity in SEVERITIES:
            result = function(spike(), severity, draws_for("doc", severity, 1))[0, ..., 0]
            assert abs(result.sum() - 1) < 1e-12
            widths.append((result * (np.arange(33) - 16) ** 2).sum())
        assert np.all(np.diff(widths) > 0)
    assert abs(widths[3] - 0.4) < 0.001  # radius 1: two fifths lie one pixel aside


def test_glass_moves_pixels_by_at_most_one_each_round_and_leaves_two_rows_alone():
    y, x = np.indices((32, 32))
    images = np.stack([8 * y, 8 * x, 0 * x], axis=-1)[None] / 255.0
    result = glass_blur(images, 1, draws_for("glass_blur", 1, 1))  # sigma 0.05 blurs nothing
    assert (result[:, :2] == images[:, :2]).all()
    assert (result[:, :, :2] == images[:, :, :2]).all()
    moves = np.rint((images - result)[0, 2:, 2:] * 255 / 8)
    assert set(np.unique(moves[..., 0])) == set(np.unique(moves[..., 1])) == {0, 1}
    assert abs(moves[..., :2].mean() - 0.5) < 0.05
