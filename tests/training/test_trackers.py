"""Trackers get each epoch's metrics, or are refused in one sentence."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking
from accelerate.tracking import GeneralTracker

from lehr import LehrError
from lehr.runs import RunFolder
from lehr.training import trackers as trackers_module
from lehr.training.trackers import NAMES, check_trackers
from tests.training.tiny import images, one_thread, plain, settings, train

__all__ = ["one_thread"]


def installed(patch: pytest.MonkeyPatch, **known: bool) -> None:
    import accelerate.utils

    for name, found in known.items():
        patch.setattr(accelerate.utils, f"is_{name}_available", lambda found=found: found)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "tensorbord",
            "there is no tracker 'tensorbord': did you mean 'tensorboard'? (trackers: mlflow, tensorboard, wandb)",
        ),
        ("comet_ml", "there is no tracker 'comet_ml': choose from mlflow, tensorboard, wandb"),
        ("", "there is no tracker ''"),
    ],
)
def test_unknown_trackers_are_refused_in_one_sentence(tmp_path, name, sentence):
    with pytest.raises(LehrError) as told:
        train(tmp_path / "run", plain(), images(), settings(), trackers=[name])
    assert str(told.value).startswith(sentence)
    assert "\n" not in str(told.value)
    assert not list((tmp_path / "run").iterdir()), "nothing is begun"


@pytest.mark.parametrize("name", NAMES)
def test_trackers_that_are_not_installed_are_refused_in_one_sentence(monkeypatch, name):
    installed(monkeypatch, **dict.fromkeys(NAMES, False))
    with pytest.raises(LehrError, match=f"^the tracker {name} is not installed: pip install {name}$"):
        check_trackers([name])
    installed(monkeypatch, **{name: True})
    check_trackers([name])
    with pytest.raises(LehrError, match="no tracker 'x'"):
        check_trackers([name, "x"])


class Fake(GeneralTracker):
    """Notes what it is told, in the place of TensorBoard."""

    name = "tensorboard"
    requires_logging_directory = True
    made: list[Fake] = []

    def __init__(self, run_name: str, logging_dir: str, **options: Any) -> None:
        super().__init__()
        self.run_name, self.logging_dir, self.options = run_name, Path(logging_dir), options
        self.config: dict[str, Any] = {}
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.ended = 0
        Fake.made.append(self)

    @property
    def tracker(self) -> Fake:
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = values

    def log(self, values: dict[str, float], step: int | None = None, **_: Any) -> None:
        self.lines.append((step, dict(values)))

    def finish(self) -> None:
        self.ended += 1


@pytest.fixture
def fake(monkeypatch) -> list[Fake]:
    monkeypatch.setattr(Fake, "made", [])
    installed(monkeypatch, tensorboard=True)
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Fake)
    known = [*tracking._available_trackers, tracking.LoggerType.TENSORBOARD]
    monkeypatch.setattr(tracking, "_available_trackers", known)
    return Fake.made


def test_each_epochs_metrics_arrive(tmp_path, fake):
    options = settings(epochs=3)
    _, folder = train(tmp_path / "run", plain(), images(), options, trackers=["tensorboard"])
    (tracker,) = fake
    assert tracker.lines == [(row["step"], row) for row in folder.metrics()]
    assert [step for step, _ in tracker.lines] == [5, 10, 15]
    assert tracker.run_name == "lehr"
    assert tracker.logging_dir == folder.path / "trackers"
    assert tracker.logging_dir.is_dir()
    assert tracker.ended == 1


def test_settings_arrive_as_plain_values(tmp_path, fake):
    options = settings(epochs=1)
    train(tmp_path / "run", plain(), images(), options, trackers=["tensorboard"])
    config = fake[0].config
    assert config.keys() == options.model_dump().keys()
    assert all(isinstance(value, (int, float, str, bool)) for value in config.values())
    assert (config["lr"], config["epochs"], config["limit"]) == (0.05, 1, "None")
    json.dumps(config)


def test_a_run_that_fails_ends_its_trackers(tmp_path, fake):
    with pytest.raises(LehrError, match="the loss became"):
        train(tmp_path / "run", plain(), images(), settings(lr=1e30), trackers=["tensorboard"])
    assert fake[0].ended == 1


def test_a_tracked_run_leaves_the_bits_of_one_that_is_not(tmp_path, fake):
    nets = plain(), plain()
    _, quiet = train(tmp_path / "quiet", nets[0], images(), settings())
    _, tracked = train(tmp_path / "tracked", nets[1], images(), settings(), trackers=["tensorboard"])
    assert quiet.metrics_file.read_bytes() == tracked.metrics_file.read_bytes()
    assert all(a.equal(b) for a, b in zip(*(net.parameters() for net in nets), strict=True))
    assert not (quiet.path / "trackers").exists()


def test_without_trackers_nothing_is_asked_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers_module.Accelerator, "init_trackers", lambda *a, **k: pytest.fail("asked"))
    train(tmp_path / "run", plain(), images(), settings(epochs=1))


@pytest.mark.skipif(
    not (find_spec("tensorboard") or find_spec("tensorboardX")),
    reason="NO TENSORBOARD: pip install tensorboard to write real event files in this test",
)
@pytest.mark.filterwarnings("ignore")
def test_tensorboards_files_hold_the_metrics(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, folder = train(tmp_path / "run", plain(), images(), settings(), trackers=["tensorboard"])
    (events,) = {
        file.parent for file in RunFolder(folder.path).path.rglob("events.out.tfevents.*") if file.parent.name == "lehr"
    }
    found = EventAccumulator(str(events))
    found.Reload()
    for name in ("loss", "validation_accuracy"):
        rows = [(row["step"], pytest.approx(row[name])) for row in folder.metrics()]
        assert [(event.step, event.value) for event in found.Scalars(name)] == rows
