import pytest

from lehr import LehrError
from lehr.training.learning_rates import learning_rates


@pytest.mark.parametrize("name", learning_rates)
@pytest.mark.parametrize("total", [1, 2, 7, 100])
def test_factors_stay_in_range_and_reach_the_peak(name, total):
    factors = [learning_rates[name](step, total) for step in range(total)]
    assert all(0 <= f <= 1 + 1e-12 for f in factors)
    if total >= 7:
        assert max(factors) > 0.7


def test_shapes():
    assert {learning_rates["constant"](s, 9) for s in range(9)} == {1.0}
    cycle = [learning_rates["one-cycle"](s, 1001) for s in range(1001)]
    assert cycle[0] == pytest.approx(0.01)
    assert cycle.index(max(cycle)) == 100
    assert cycle[-1] == pytest.approx(1e-6, abs=1e-9)
    linear = [learning_rates["linear"](s, 4) for s in range(4)]
    assert linear == [1.0, 0.75, 0.5, 0.25]
    with pytest.raises(LehrError, match="did you mean 'one-cycle'"):
        learning_rates["onecycle"]
