from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lehr import LehrError, Mask
from lehr.recipes.tune import peak_of
from lehr.runs import Settings, TrainSettings, TuneSettings, validated
from lehr.training.learning_rates import adaptive_peak, learning_rates, schedule_of, stepped


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


def rates(count, steps_per_epoch=10, **changes):
    settings = validated(Settings, {"data": "digits", "model": "lenet5", "epochs": 1, **changes})
    factor = schedule_of(settings, steps_per_epoch)
    return [factor(step, count) for step in range(count)]


def test_the_rate_rises_over_the_warm_up_and_drops_where_it_is_told():
    assert rates(4, schedule="constant", warmup="0.5") == [0.0, 0.5, 1.0, 1.0]
    assert rates(3, schedule="constant", warmup="0it") == [1.0] * 3
    own = [learning_rates["cosine"](step, 20) for step in range(20)]
    assert rates(20, schedule="cosine", warmup="1ep") == [rate * min(1.0, step / 10) for step, rate in enumerate(own)]
    assert rates(7, schedule="multistep") == [learning_rates["multistep"](step, 7) for step in range(7)]
    assert rates(7, schedule="multistep") == [1.0] * 4 + [0.1] * 2 + [0.01]
    assert rates(6, 2, schedule="multistep", drops="1ep,3it,0.75") == [1.0, 1.0, 0.1, 0.01, 0.01, 0.001]


def test_a_drop_is_at_its_step_whatever_floating_point_makes_of_its_fraction():
    for fraction, total, step in (("0.55", 100, 55), (2 / 3, 30, 20), (5 / 6, 30, 25)):
        (drop,) = TrainSettings(data="d", model="m", epochs=1, schedule="multistep", drops=[fraction]).drops
        assert [stepped(s, total, (drop,)) for s in (step - 1, step)] == [1.0, 0.1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup": "soon"}, "the length 'soon' is not understood"),
        ({"warmup": "1.5"}, "the length 1.5 is not a fraction in .*: write 2it or 2ep"),
        ({"schedule": "multistep", "drops": "0.5,late"}, "the length 'late' is not understood"),
        ({"schedule": "cosine", "drops": "0.5"}, "drops is 0.5 and the schedule cosine has none: use multistep"),
        ({"schedule": "one-cycle", "warmup": "0.1"}, "the schedule one-cycle rises by itself: leave one out"),
    ],
)
def test_a_warm_up_or_a_drop_that_means_nothing_is_refused(changes, message):
    with pytest.raises(LehrError, match=message):
        rates(4, **changes)


def test_llr_warms_up_and_falls_in_a_line():
    rate = learning_rates["llr"]
    assert rate(0, 1000) == 0.0
    for step in range(100):
        assert rate(step, 1000) == pytest.approx((1 - math.cos(math.pi * step / 100)) / 2)
    for step in range(100, 1000):
        assert rate(step, 1000) == pytest.approx((1000 - step) / 900)
    assert rate(100, 1000) == 1.0
    assert [learning_rates["allr"](s, 77) for s in range(77)] == [rate(s, 77) for s in range(77)]


@pytest.mark.parametrize(
    ("before", "after", "sparsity", "share", "factor"),
    [
        (5.0, 4.0, 0.64, 0.0, 3 / 5 / 0.8),  # a 3-4-5 triangle: 3 went away
        (5.0, 4.0, 0.36, 0.0, 1.0),  # 3 / 5 / 0.6
        (5.0, 4.0, 0.1, 0.0, 1.0),  # never above the peak that was asked for
        (5.0, 4.0, 0.64, 0.9, 0.9),  # as long a retraining as this asks for more
        (5.0, 4.0, 0.64, 7.0, 1.0),  # tuned for longer than trained
        (5.0, 5.0, 0.5, 0.25, 0.25),  # nothing went away
        (5.0, 5.0, 0.5, 0.0, 0.0),
        (0.0, 0.0, 0.5, 0.25, 0.25),  # a network of zeros
        (5.0, 5.0, 0.0, 0.25, 0.25),  # nothing was cut
    ],
)
def test_the_adaptive_peak_by_hand(before, after, sparsity, share, factor):
    assert adaptive_peak(before, after, sparsity, share) == pytest.approx(factor)


@given(
    before=st.floats(0.1, 100),
    left=st.floats(0, 1),
    sparsity=st.floats(0.01, 0.999),
    share=st.floats(0, 10),
)
def test_the_adaptive_peak_by_its_formula(before, left, sparsity, share):
    after = left * before
    q = math.sqrt(before**2 - after**2) / before
    expected = min(1.0, max(share, q / math.sqrt(sparsity)))
    assert adaptive_peak(before, after, sparsity, share) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(sparsity=st.floats(0, 0.999), share=st.floats(0, 10))
def test_the_adaptive_peak_is_a_share_of_the_peak(sparsity, share):
    assert 0 <= adaptive_peak(1.0, 1.0, sparsity, share) <= 1


def tiny() -> nn.Module:
    """Weights 1, 2, 3, 4 in the one masked layer, and 5 in a bias: the squares are 1 + 4 + 9 + 16 + 25 = 55."""
    net = nn.Linear(4, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -2.0, 3.0, -4.0]]))
        net.bias.fill_(5.0)
    return net


def settings(**values) -> TuneSettings:
    fields = {"data": "digits", "model": "x", "parent": "p", "parent_digest": "0", "method": "gradual", "epochs": 2}
    return TuneSettings(**{**fields, "sparsity": 0.5, **values})


@pytest.mark.parametrize(
    ("kept", "trained", "factor"),
    [
        ([False, False, True, True], None, math.sqrt(5 / 55) / math.sqrt(0.5)),
        ([True, True, False, False], None, math.sqrt(25 / 55) / math.sqrt(0.5)),
        ([False, False, True, True], 4, 0.5),  # two epochs of four
        ([False, True, True, True], 100, math.sqrt(1 / 55) / math.sqrt(0.25)),
        ([True, True, True, True], 8, 0.25),
    ],
)
def test_the_peak_of_a_cut_by_hand(kept, trained, factor):
    net = tiny()
    before = net.weight.detach().clone()
    mask = Mask({"weight": torch.tensor([kept])})
    assert peak_of(settings(parent_epochs=trained), net, mask) == pytest.approx(factor)
    assert net.weight.equal(before), "nothing is cut for it"
