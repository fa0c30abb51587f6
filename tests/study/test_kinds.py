"""Which setting goes to which run of a line."""

import pytest

from lehr import LehrError
from lehr.runs import TrainSettings, TuneSettings
from lehr.study.kinds import divided, kinds, lineage, settings_of

TUNE = kinds["tune"]


def both(**values) -> tuple[dict, dict]:
    tuned, parent = divided(TUNE, values)
    return TUNE.read(tuned), kinds["train"].read(parent)


def test_a_tuning_run_starts_from_a_training_run():
    assert [one.name for one in lineage(TUNE)] == ["tune", "train"]
    assert [one.name for one in lineage(kinds["train"])] == ["train"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data", "digits"), ("model", "lenet5"), ("limit", 100), ("image_size", 8), ("augment", False), ("context", 64),
        ("batch_size", 64), ("optimizer", "adam"), ("momentum", 0.5), ("weight_decay", 0.0), ("precision", "fp32"),
        ("seed", 3), ("threads", 2), ("validate_every", 4),
    ],
)  # fmt: skip
def test_what_is_shared_goes_to_both(name, value):
    tuned, parent = both(**{name: value})
    assert tuned[name] == parent[name] == value


@pytest.mark.parametrize(("name", "value"), [("epochs", 3), ("lr", 0.3), ("schedule", "cosine"), ("accumulate", 2)])
def test_what_every_run_has_of_its_own_is_the_parents_without_a_prefix(name, value):
    usual = both()
    tuned, parent = both(**{name: value})
    assert (tuned, parent[name]) == (usual[0], value)
    tuned, parent = both(**{f"tune_{name}": value})
    assert (tuned[name], parent) == (value, usual[1])


@pytest.mark.parametrize(
    ("name", "value"), [("sparsity", 0.9), ("granularity", "2:4"), ("tau", 0.2), ("average", 0.5), ("bn_batches", 3)]
)
def test_what_tuning_is_about_goes_to_it_alone(name, value):
    for written in (name, f"tune_{name}"):
        tuned, parent = both(method="temperature-annealing", **{written: value})
        assert tuned[name] == value
        assert name not in parent


def test_a_prefix_is_over_what_is_shared_whichever_comes_first():
    for values in ({"seed": 1, "tune_seed": 5}, {"tune_seed": 5, "seed": 1}):
        tuned, parent = both(**values)
        assert (tuned["seed"], parent["seed"]) == (5, 1)


def test_a_prefix_of_the_parent():
    tuned, parent = both(seed=1, train_seed=5)
    assert (tuned["seed"], parent["seed"]) == (1, 5)


def test_both_have_twenty_epochs_unless_told_otherwise():
    tuned, parent = both()
    assert (tuned["epochs"], parent["epochs"], tuned["method"]) == (20, 20, "one-shot")


def test_a_method_is_written_with_its_options_which_are_over_the_grids():
    tuned, _ = both(method="temperature-annealing:tau=1:target=moving", tau=0.25)
    assert (tuned["method"], tuned["tau"], tuned["target"]) == ("temperature-annealing", "1", "moving")


EVERYTHING = {
    "tau": 0.2, "tau_schedule": "linear", "all_weights": True, "tau_by_layer": True, "target": "moving", "scope": "layer",
    "reselect_every": 5, "redraw_every": 2, "realise": "mean", "anneal": "2ep", "score": "random", "distribution": "erk",
    "inactive": "move", "restart": True, "probe": True,
}  # fmt: skip
KEPT = {
    "dense": set(),
    "one-shot": {"scope", "score", "distribution", "probe"},
    "gradual": {
        "target", "scope", "reselect_every", "anneal", "score", "distribution", "inactive", "restart", "probe",
    },
    "temperature-annealing": set(EVERYTHING),
}  # fmt: skip


@pytest.mark.parametrize("method", KEPT)
def test_settings_that_a_method_has_no_use_for_are_dropped(method):
    tuned, _ = both(method=method, sparsity=0.9, **EVERYTHING)
    assert tuned.keys() & EVERYTHING.keys() == KEPT[method]
    assert ("sparsity" in tuned) == (method != "dense")


@pytest.mark.parametrize("name", ["parent", "parent_digest", "parent_epochs", "tune_parent", "tune_", "tau_tune", ""])
def test_a_name_that_no_run_has_is_refused(name):
    with pytest.raises(LehrError, match=f"there is no study setting '{name}'"):
        both(**{name: "x"})


def test_a_training_study_has_no_settings_of_tuning():
    assert divided(kinds["train"], {"lr": 0.1, "train_epochs": 3}) == [{"epochs": 3, "lr": 0.1}]
    with pytest.raises(LehrError, match="there is no study setting 'sparsity'"):
        divided(kinds["train"], {"sparsity": 0.9})


def test_settings_are_validated_before_the_parent_is_there():
    values = {"data": "digits", "model": "lenet5", "epochs": 1, "method": "gradual", "sparsity": 0.5}
    settings = settings_of(TUNE, values, "0123456789ab")
    assert isinstance(settings, TuneSettings)
    assert (settings.parent, settings.parent_digest) == ("", "0123456789ab")
    dense = settings_of(kinds["train"], {"data": "digits", "model": "lenet5", "epochs": 1}, "")
    assert isinstance(dense, TrainSettings)
    assert dense.parent is None
    with pytest.raises(LehrError, match="epochs is -1"):
        settings_of(TUNE, {**values, "epochs": -1}, "x")
