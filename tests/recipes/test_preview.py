import pytest
import torch

from lehr import LehrError, Mask
from lehr.recipes.method import annealing_steps, build_method
from lehr.recipes.preview import preview
from lehr.runs import TuneSettings, validated

BASE = {"data": "", "model": "", "parent": "", "parent_digest": "", "epochs": 10, "sparsity": 0.98}


def moments(**values):
    return preview(validated(TuneSettings, {**BASE, **values}), steps_per_epoch=50)


def test_temperature_by_its_formula():
    found = moments(method="temperature-annealing", tau=0.4, tau_schedule="linear", anneal="0.5")
    for moment in found:
        tau = 0.4 * max(0.0, 1 - moment.step / 250)
        assert moment.temperature == pytest.approx(tau, abs=1e-6)
        assert moment.density == pytest.approx(0.02 + 0.98 * tau, abs=1e-6)
        assert moment.target == 0.02
    assert (found[0].step, found[-1].step, found[-1].epoch) == (0, 500, 10.0)


def test_a_falling_density_falls_in_the_steps_of_the_run():
    found = moments(method="gradual", anneal="250it", reselect_every=50)
    assert found[0].density == 1.0
    levels = {round(moment.density, 4) for moment in found}
    assert levels == {round(0.02 + 0.98 * (1 - i / 5) ** 3, 4) for i in range(6)}


def test_random_annealing_starts_at_half():
    found = moments(method="random-annealing")
    assert found[0].temperature == pytest.approx(0.5, abs=0.01)
    assert found[-1].density == 0.02


def test_what_tune_would_refuse_is_refused():
    with pytest.raises(LehrError, match="gradual has no tau"):
        moments(method="gradual", tau=0.2)
    with pytest.raises(LehrError, match="did you mean 'gradual'"):
        moments(method="gradul")


@pytest.mark.parametrize("method", ["rigl", "set"])
def test_methods_that_move_their_target_keep_its_density(method):
    assert {moment.density for moment in moments(method=method)} == {0.02}


def test_alternating_compression_goes_between_all_weights_and_its_target_when_it_is_due():
    settings = validated(TuneSettings, {**BASE, "method": "ac-dc"})
    method = build_method(settings, Mask({"w": torch.arange(50) < 1}), annealing_steps(settings, 50, 500))
    found = moments(method="ac-dc")
    assert {moment.density for moment in found} == {1.0, 0.02}
    for moment in found:
        assert (moment.density == 1.0) == method.dense(min(moment.step, method.steps)), moment
