"""Settings and the names that they give to runs."""

import pytest

from lehr import LehrError
from lehr.runs import TrainSettings, TuneSettings, validated

TRAIN = {"data": "digits", "model": "lenet5", "epochs": 2}
TUNE = {**TRAIN, "parent": "x", "parent_digest": "y", "method": "gradual", "sparsity": 0.9, "lr": 0.2}


def test_names_of_runs_stay():
    """Studies are taken up again by them: a default that changes must not pass for what was run before."""
    assert TrainSettings(**TRAIN).digest == "831afad45b0c"
    assert TuneSettings(**TUNE).digest == "4901a08bb962"


def test_a_setting_at_its_default_does_not_change_the_name():
    assert TrainSettings(**TRAIN, batch_size=128).digest == TrainSettings(**TRAIN).digest
    assert TrainSettings(**TRAIN, batch_size=64).digest != TrainSettings(**TRAIN).digest
    assert TuneSettings(**{**TUNE, "parent": "elsewhere"}).digest == TuneSettings(**TUNE).digest


@pytest.mark.parametrize(("name", "value"), [("epochs", True), ("lr", True), ("seed", False), ("model", True)])
def test_yes_is_no_number(name, value):
    with pytest.raises(LehrError, match=f"{name} is {str(value).lower()}: give a number or a name"):
        validated(TrainSettings, {**TRAIN, name: value})


def test_yes_is_for_what_is_yes_or_no():
    assert validated(TrainSettings, {**TRAIN, "augment": True}).augment is True
    assert validated(TuneSettings, {**TUNE, "restart": True}).restart
