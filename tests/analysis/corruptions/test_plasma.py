import numpy as np

from lehr.analysis.corruptions import Draws
from lehr.analysis.corruptions.plasma import plasma
from tests.analysis.corruptions.references import clouds


def test_it_is_diamond_square():
    draws = Draws(0, "doc", 1, 0, 3)
    for side, decay in ((8, 3.0), (32, 1.75)):
        result = plasma(side, side, decay, draws)
        for i in range(3):
            assert abs(result[i] - clouds(side, decay, Draws(0, "doc", 1, i, 1))).max() < 1e-12


def test_other_shapes_are_cut_from_the_next_power_of_two():
    draws = Draws(0, "doc", 1, 0, 2)
    assert (plasma(28, 20, 2.0, draws) == plasma(32, 32, 2.0, draws)[:, :28, :20]).all()


def test_a_larger_decay_is_smoother():
    draws = Draws(0, "doc", 1, 0, 50)
    rough = [abs(np.diff(plasma(32, 32, decay, draws), axis=1)).mean() for decay in (1.5, 2.0, 3.0)]
    assert rough == sorted(rough, reverse=True)
