import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr import LehrError
from lehr.base import schedules

unit = st.floats(0, 1)


@pytest.mark.parametrize("name", schedules.NAMES)
@given(u=unit, v=unit, start=st.floats(0.01, 1), density=st.floats(0.001, 0.9))
def test_every_schedule_falls_from_its_start_to_exactly_zero(name, u, v, start, density):
    def tau(x: float) -> float:
        return schedules.temperature(name, x, start, density)

    assert tau(0.0) == pytest.approx(start)
    assert tau(1.0) == 0.0
    low, high = sorted((u, v))
    assert start + 1e-12 >= tau(low) >= tau(high) - 1e-12 >= -1e-12


def test_formulas_by_hand():
    assert schedules.cosine(0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert schedules.exponential(0.25, g=0.1) == pytest.approx((0.1**0.25 - 0.1) / 0.9)
    assert schedules.cubic(0.75) == 1 / 64
    # D0 = 0.1 + 0.9 * 0.5 = 0.55; D(0.5) = sqrt(0.055); tau = (D - 0.1) / 0.9
    assert schedules.log_density(0.5, 0.5, 0.1) == pytest.approx((math.sqrt(0.055) - 0.1) / 0.9)


def test_log_density_loses_equal_factors_in_equal_times():
    density, start = 0.02, 0.5
    path = [density + (1 - density) * schedules.log_density(i / 8, start, density) for i in range(9)]
    factors = [b / a for a, b in pairwise(path)]
    assert factors == pytest.approx([factors[0]] * 8)


def test_a_users_function_is_checked():
    schedules.check_schedule(lambda u: 1 - u**2)
    with pytest.raises(LehrError, match="must end at exactly 0"):
        schedules.check_schedule(lambda u: 1 - 0.5 * u)
    with pytest.raises(LehrError, match="no schedule 'cosin': did you mean 'cosine'"):
        schedules.check_schedule("cosin")
    with pytest.raises(LehrError, match=r"gave -1.0 at u = 0.5"):
        schedules.temperature(lambda u: -1.0, 0.5, 1.0, 0.1)
