"""Networks are asked once, about images that are made once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from lehr import LehrError
from lehr.data import Dataset, Split, load
from lehr.ensembles import mean_probabilities
from lehr.models.wrappers.tree import Tree
from lehr.recipes import corrupted, questions
from lehr.recipes.questions import EnsembleSettings, Questions, alike, ask

KINDS = ("gaussian_noise", "contrast")
SETTINGS = EnsembleSettings(run="", corrupted=True, corruptions=KINDS, severities=(2, 5), examples=6, temperature=True)


def images() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (9, 1, 16, 16), generator=generator, dtype=torch.uint8)
    return replace(
        load("digits"), test=Split(pixels, torch.arange(9) % 3), validation=Split(pixels[:4], torch.arange(4))
    )


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 10)).eval()


def test_every_set_is_asked_and_the_answers_are_the_networks():
    asked = Questions(images(), SETTINGS)
    first = network(0)
    found = ask(first, asked)
    assert list(found) == ["test", "validation", *((kind, s) for kind in KINDS for s in (2, 5))]
    data = images()
    with torch.no_grad():
        assert torch.allclose(
            found["test"].logits[0], first(data.prepare.judged(data.test.inputs)), atol=1e-6
        )  # all of them
        changed = corrupted.corrupt(data.test.inputs[:6], "contrast", 5, seed=0)
        assert torch.allclose(found["contrast", 5].logits[0], first(data.prepare.judged(changed)), atol=1e-5)
    assert found["validation"].targets.tolist() == [0, 1, 2, 3]
    assert found["contrast", 5].targets.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_network_that_is_an_ensemble_by_itself_answers_with_all_its_members():
    torch.manual_seed(0)
    tree = Tree(nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 10)), 3)
    found = ask(tree, Questions(images(), SETTINGS))  # in training mode: it is judged nevertheless
    shapes = {key: tuple(answer.logits.shape) for key, answer in found.items()}
    assert (shapes["test"], shapes["contrast", 5]) == ((3, 9, 10), (3, 6, 10))
    with torch.no_grad():
        whole = tree.eval()(images().prepare.judged(images().test.inputs))
    torch.testing.assert_close(mean_probabilities(found["test"].logits), whole)


@pytest.mark.parametrize(("room", "times"), [(questions.REMEMBERED, 4), (0, 8), (6 * 256, 7)])
def test_images_are_made_once_as_far_as_there_is_room_and_are_the_same_then(monkeypatch, room, times):
    made = []
    corrupt = corrupted.corrupt

    def counted(inputs, name, severity, **more):
        made.append((name, severity))
        return corrupt(inputs, name, severity, **more)

    monkeypatch.setattr(corrupted, "corrupt", counted)
    monkeypatch.setattr(questions, "REMEMBERED", room)
    asked = Questions(images(), SETTINGS)
    first, again = ask(network(0), asked), ask(network(0), asked)
    assert len(made) == times
    assert all(torch.equal(first[key].logits, again[key].logits) for key in first)


def test_a_network_of_other_images_is_one_sentence():
    with pytest.raises(LehrError, match=r"the corrupted images do not fit digits"):
        small = EnsembleSettings(run="", corrupted=True, corruptions=("contrast",), severities=(1,), examples=2)
        asked = Questions(images(), small)
        asked.keys = (("contrast", 1),)
        ask(nn.Linear(3, 3), asked)


def test_they_fit_networks_of_the_same_data_only():
    assert alike(images(), images())
    assert not alike(images(), replace(images(), name="other"))
    assert not alike(images(), replace(images(), validation=images().test))
    assert not alike(load("digits", limit=100), load("digits", limit=200)), "scaled by what was trained on"
    assert alike(load("digits", augment=True), load("digits", augment=False)), "nobody is judged on what is cropped"


@pytest.mark.parametrize("asked", [{"examples": 6}, {"severities": (2,)}])
def test_what_is_of_corrupted_images_is_refused_without_them(asked):
    with pytest.raises(LehrError, match=rf"{next(iter(asked))} is given and is of corrupted images: ask for them"):
        Questions(images(), EnsembleSettings(run="", **asked))
