"""Texts in the loop, distillation, and what a run notices, on data of a few kilobytes."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from lehr import Mask, TemperatureAnnealing, select
from lehr.base.errors import Interrupted
from lehr.recipes.ending import scores_of
from lehr.runs import RunFolder
from lehr.training import evaluate, fit
from lehr.training.diagnosis import diagnose_run, emptying
from lehr.training.tuning import Teacher, Tuning
from tests.training.test_loop import stop_after
from tests.training.tiny import (
    characters,
    encoder,
    gpt,
    images,
    one_thread,
    plain,
    sentences,
    settings,
    train,
    with_batch_norm,
)

__all__ = ["one_thread"]


# -- texts --------------------------------------------------------------------------------------------------


def test_a_language_model_learns(tmp_path):
    data, model = characters(), gpt()
    before = evaluate(model, data.test, data)
    outcome, folder = train(tmp_path / "run", model, data, settings(epochs=8, optimizer="adam", lr=0.01))
    losses = [row["loss"] for row in folder.metrics()]
    assert losses[0] > 2 * losses[-1]
    assert before.nll == pytest.approx(math.log(4), abs=0.1), "a new network knows nothing of four letters"
    assert outcome.test.nll < 0.1
    assert outcome.test.accuracy > 0.95
    assert outcome.test.count == (600 - 8) // 8 * 8, "every character is predicted"
    assert folder.metrics()[-1]["train_accuracy"] <= 1


def test_bits_per_character_are_nats_over_ln_2(tmp_path):
    data, model = characters(), gpt()
    outcome, _ = train(tmp_path / "run", model, data, settings(epochs=1, optimizer="adam", lr=0.01))
    result = scores_of(outcome, data)
    for part in ("validation", "test"):
        assert result[part]["bits_per_character"] == pytest.approx(result[part]["nll"] / math.log(2), rel=1e-12)
    windows = data.test.take(torch.arange(len(data.test)))
    with torch.no_grad():
        chances = model.eval()(windows.inputs).double().softmax(-1)
    chosen = chances.gather(-1, windows.targets[..., None])
    assert result["test"]["bits_per_character"] == pytest.approx(float(-chosen.log2().mean()), rel=1e-4)
    assert result["test"]["accuracy"] == pytest.approx(float((chances.argmax(-1) == windows.targets).double().mean()))
    assert "bits_per_character" not in scores_of(outcome, images())["test"]


def test_sentences_are_told_apart(tmp_path):
    data = sentences()
    outcome, folder = train(tmp_path / "run", encoder(), data, settings(epochs=10, optimizer="adam", lr=0.01))
    losses = [row["loss"] for row in folder.metrics()]
    assert losses[0] == pytest.approx(math.log(2), abs=0.15)
    assert losses[-1] < 0.1
    assert outcome.test.accuracy == 1.0
    assert outcome.test.count == 64


@pytest.mark.parametrize(("data", "model"), [(characters, gpt), (sentences, encoder)])
def test_texts_are_tuned_down_stopped_and_resumed_to_the_same_bits(tmp_path, monkeypatch, data, model):
    options = settings(epochs=2, optimizer="adam", lr=0.01)

    def go(folder):
        net = model()
        method = TemperatureAnnealing(select(net, 0.5, scope="layer"), steps=8, target="moving")
        outcome, _ = train(folder, net, data(), options, tuning=Tuning(method))
        assert all((net.get_parameter(name)[~keep] == 0).all() for name, keep in method.target.items())
        return net, outcome

    whole, outcome = go(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(Interrupted):
            go(tmp_path / "cut")
    resumed, again = go(tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert outcome.test == again.test


# -- distillation -------------------------------------------------------------------------------------------


@pytest.fixture
def losses(monkeypatch) -> list[tuple[torch.Tensor, ...]]:
    """What the loss was made of, batch by batch: inputs, logits, targets, and its value."""
    seen: list[tuple[torch.Tensor, ...]] = []
    original = Tuning.forward

    def forward(self, network, inputs, targets, *more, **options):
        logits, loss = original(self, network, inputs, targets, *more, **options)
        seen.append((inputs, logits.detach(), targets, loss.detach()))
        return logits, loss

    monkeypatch.setattr(Tuning, "forward", forward)
    return seen


def test_a_teacher_is_looked_at_and_never_changed(tmp_path, losses):
    teacher = with_batch_norm()
    train(tmp_path / "teacher", teacher, images(), settings(lr=0.01))
    losses.clear()
    teacher.train()
    before = copy.deepcopy(teacher.state_dict())
    train(tmp_path / "run", plain(), images(), settings(), tuning=Tuning(teacher=Teacher(teacher, 0.7, 3.0)))
    assert all(torch.equal(before[name], t) for name, t in teacher.state_dict().items()), "statistics too"
    assert all(p.grad is None for p in teacher.parameters())
    assert not teacher.training, "in evaluation mode"
    for inputs, logits, targets, loss in losses:
        with torch.no_grad():
            hint = (teacher(inputs) / 3).log_softmax(-1)
        own = (logits / 3).log_softmax(-1)
        soft = (hint.exp() * (hint - own)).sum(-1).mean()
        hard = -logits.log_softmax(-1)[torch.arange(len(targets)), targets].mean()
        torch.testing.assert_close(loss, 0.3 * hard + 0.7 * 9 * soft, atol=1e-5, rtol=1e-5)
    assert len(losses) == 15


def test_with_all_the_weight_labels_do_not_count(tmp_path):
    """The same pupil comes of right and of wrong labels."""
    data = images()
    teacher = plain()
    train(tmp_path / "teacher", teacher, data, settings())
    wrong = type(data.train)(data.train.inputs, 1 - data.train.targets)
    pupils = []
    for number, part in enumerate((data.train, wrong)):
        torch.manual_seed(1)
        pupils.append(plain())
        told = type(data)(**{**vars(data), "train": part})
        train(
            tmp_path / f"run{number}", pupils[-1], told, settings(), tuning=Tuning(teacher=Teacher(teacher, 1.0, 2.0))
        )
    assert all(torch.equal(a, b) for a, b in zip(*(p.parameters() for p in pupils), strict=True))


def test_a_pupil_comes_near_its_teacher(tmp_path):
    data = images()
    teacher = plain()
    train(tmp_path / "teacher", teacher, data, settings())

    def distance(net) -> float:
        x = data.prepare.judged(data.test.inputs)
        with torch.no_grad():
            return float((net(x).softmax(-1) - teacher(x).softmax(-1)).abs().mean())

    torch.manual_seed(5)
    pupil = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    before = distance(pupil)
    train(tmp_path / "run", pupil, data, settings(epochs=6), tuning=Tuning(teacher=Teacher(teacher, 1.0, 1.0)))
    assert distance(pupil) < 0.2 * before


def test_language_models_teach_at_every_place(tmp_path):
    data, teacher = characters(), gpt()
    train(tmp_path / "teacher", teacher, data, settings(epochs=4, optimizer="adam", lr=0.01))
    torch.manual_seed(7)
    outcome, _ = train(
        tmp_path / "run",
        gpt(),
        data,
        settings(epochs=4, optimizer="adam", lr=0.01),
        tuning=Tuning(teacher=Teacher(teacher, 1.0, 2.0)),
    )
    assert outcome.test.accuracy > 0.9


def test_distillation_resumes_to_the_same_bits(tmp_path, monkeypatch):
    teacher = plain()
    train(tmp_path / "teacher", teacher, images(), settings())

    def go(name: str):
        model = with_batch_norm()
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir(exist_ok=True)
        fit(model, images(), settings(lr=0.01), folder, tuning=Tuning(teacher=Teacher(teacher, 0.5, 2.0)))
        return model

    whole = go("whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 7)
        with pytest.raises(Interrupted):
            go("cut")
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), go("cut").state_dict().values(), strict=True)
    )


# -- what is noticed ----------------------------------------------------------------------------------------


def row(accuracy: float) -> dict[str, float]:
    return {"validation_accuracy": accuracy}


@pytest.mark.parametrize(
    ("accuracies", "parent", "told"),
    [
        ([0.44, 0.9], 0.9, True),
        ([0.45, 0.9], 0.9, False),  # exactly half is left
        ([0.9, 0.1], 0.9, False),  # only the first epoch says how it was cut
        ([0.1], None, False),
        ([0.1], 0.0, False),
        ([], 0.9, False),
    ],
)
def test_a_collapse_is_half_of_the_parents_accuracy_gone_in_the_first_epoch(accuracies, parent, told):
    notes = diagnose_run([row(a) for a in accuracies], None, parent)
    assert len(notes) == told
    if told:
        assert notes[0].startswith("the accuracy fell from 90.0 % to 44.0 % in the first epoch")
        assert "\n" not in notes[0]


def layer(kept: int, outputs: int = 4, inputs: int = 6) -> torch.Tensor:
    keep = torch.zeros(outputs * inputs, dtype=torch.bool)
    keep[:kept] = True
    return keep.reshape(outputs, inputs)


def test_a_layer_empties_when_it_keeps_fewer_weights_than_outputs():
    notes = emptying(Mask({"a": layer(4), "b": layer(3), "c": layer(1), "d": layer(24)}))
    assert [note.split(":")[0] for note in notes] == [
        "b keeps 3 weights for 4 outputs",
        "c keeps 1 weight for 4 outputs",
    ]
    assert emptying(Mask({"a": layer(0)}))[0].startswith("a keeps 0 weights for 4 outputs")
    filters = torch.zeros(4, 6, dtype=torch.bool)
    filters[0] = True
    assert not emptying(Mask({"a": filters}, {"a": "filter"})), "whole filters were cut on purpose"
