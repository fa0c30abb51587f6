"""Judging finished networks, on digits and on Fashion-MNIST."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lehr import LehrError, Mask, select
from lehr.data import load
from lehr.recipes.evaluate import EvaluateSettings, evaluate
from lehr.recipes.network import JudgeSettings, open_network
from lehr.recipes.train import train
from lehr.recipes.tune import tune, tune_settings
from lehr.runs import TrainSettings

FACTORY = "from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train(TrainSettings(data="digits", model="lenet_300_100", epochs=2, batch_size=64), folder / "dense")
    result = tune(
        tune_settings(folder / "dense", {"sparsity": 0.9, "method": "one-shot", "epochs": 1}), folder / "small"
    )
    return folder, result


def test_it_agrees_with_the_run(runs):
    folder, result = runs
    for split in ("validation", "test"):
        found = evaluate(EvaluateSettings(run=str(folder / "small"), split=split))
        assert found["accuracy"] == result[split]["accuracy"]
        assert found["nll"] == pytest.approx(result[split]["nll"], rel=1e-5)
    assert found["nonzeros"] == result["nonzeros"]
    mask = Mask.load(folder / "small" / "mask.safetensors")
    assert {row["name"]: row["kept"] for row in found["layers"]} == mask.layer_counts()
    assert found["flops"] == 2 * mask.size
    assert found["kept_flops"] == pytest.approx(2 * mask.kept)
    dense = evaluate(EvaluateSettings(run=str(folder / "dense"), examples=100))
    assert (dense["count"], dense["layers"], dense["kept_flops"]) == (100, [], dense["flops"])


def test_a_users_own_weights(tmp_path):
    (tmp_path / "mine.py").write_text(FACTORY)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    select(net, 0.75).apply_(net)
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    options = {"run": str(tmp_path / "weights.pt"), "data": "digits", "model": f"{tmp_path}/mine.py:net"}
    found = evaluate(EvaluateSettings(**options))
    data = load("digits")
    with torch.no_grad():
        right = net(data.prepare.judged(data.test.inputs)).argmax(1) == data.test.targets
    assert found["accuracy"] == pytest.approx(float(right.double().mean()))
    assert found["layers"][0]["kept"] == 160, "the zeros of the file are shown as its mask"
    with pytest.raises(LehrError, match="is a file of weights, so --data must be given"):
        evaluate(EvaluateSettings(run=options["run"]))


def test_digits_are_too_small_for_corruptions(runs):
    with pytest.raises(LehrError, match="16"):
        evaluate(EvaluateSettings(run=str(runs[0] / "small"), corrupted=True))


@pytest.mark.data
def test_corrupted_images(real_data, tmp_path):
    train(TrainSettings(data="fashion_mnist", model="lenet_300_100", epochs=1, limit=2000), tmp_path / "run")
    options = {"run": str(tmp_path / "run"), "examples": 200, "corrupted": True, "severities": (1, 5)}
    found = evaluate(EvaluateSettings(**options, corruptions=("gaussian_noise", "contrast")))["corrupted"]
    assert list(found["corruptions"]) == ["gaussian_noise", "contrast"]
    for name, row in found["corruptions"].items():
        parts = found["by_severity"][name]
        assert row["accuracy"] == pytest.approx(sum(p["accuracy"] for p in parts) / 2)
    assert found["mean"]["count"] == 800
    assert found["by_severity"]["contrast"][1]["accuracy"] < found["by_severity"]["contrast"][0]["accuracy"]
    again = evaluate(EvaluateSettings(**options, corruptions=("gaussian_noise", "contrast")))["corrupted"]
    assert again == found
    with pytest.raises(LehrError, match="severity is 6"):
        evaluate(EvaluateSettings(**{**options, "severities": (6,)}))
    with pytest.raises(LehrError, match="no corruption 'fogg': did you mean 'fog'"):
        evaluate(EvaluateSettings(**options, corruptions=("fogg",)))


@pytest.mark.data
def test_the_published_files_of_a_user(real_data, tmp_path):
    train(TrainSettings(data="cifar10", model="lenet5", epochs=1, limit=512), tmp_path / "run")
    test = load("cifar10").test
    (tmp_path / "c").mkdir()
    images = np.lib.format.open_memmap(tmp_path / "c" / "fog.npy", "w+", np.uint8, (50_000, 32, 32, 3))
    images[10_000:10_100] = test.inputs[:1].permute(0, 2, 3, 1).numpy()  # the second severity's first ones
    images.flush()
    np.save(tmp_path / "c" / "labels.npy", np.full(50_000, int(test.targets[0])))
    options = {"run": str(tmp_path / "run"), "corrupted_data": str(tmp_path / "c"), "corruptions": ("fog",)}
    found = evaluate(EvaluateSettings(**options, examples=30, severities=(2,)))["corrupted"]
    assert found["corruptions"]["fog"]["count"] == 30
    network = open_network(JudgeSettings(run=options["run"]))
    with torch.no_grad():
        logits = network.model.eval()(network.data.prepare.judged(test.inputs[:1]))
    wanted = float(nn.functional.cross_entropy(logits, test.targets[:1]))
    assert found["corruptions"]["fog"]["nll"] == pytest.approx(wanted, rel=1e-4), "thirty times one image"
    with pytest.raises(LehrError, match=r"snow\.npy"):
        evaluate(EvaluateSettings(**{**options, "corruptions": ("snow",)}))


def test_bits_of_a_language_model(tmp_path):
    (tmp_path / "text.txt").write_text("abcdefgh" * 400)
    train(
        TrainSettings(data=str(tmp_path / "text.txt"), model="gpt_mini", epochs=6, batch_size=8, context=16, lr=0.01,
                      optimizer="adamw"), tmp_path / "run",
    )  # fmt: skip
    found = evaluate(EvaluateSettings(run=str(tmp_path / "run")))
    assert found["bits_per_character"] == pytest.approx(found["nll"] / math.log(2), rel=1e-6)
    assert found["bits_per_character"] < 3.0, "eight letters in order are easier than three bits each"
    with pytest.raises(LehrError, match="corruptions are for images"):
        evaluate(EvaluateSettings(run=str(tmp_path / "run"), corrupted=True))
