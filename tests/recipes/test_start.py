"""Where runs start: a user's file, a run, a run that is sparse already; and what a run notices of its start."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lehr import LehrError, Mask
from lehr.base.errors import Interrupted
from lehr.data import Batches, load
from lehr.models import create
from lehr.recipes.choice import former_mask
from lehr.recipes.method import build_method
from lehr.recipes.parent import inherit
from lehr.recipes.smoothing import build_smoothing
from lehr.recipes.train import train, train_settings
from lehr.recipes.tune import tune, tune_settings
from lehr.runs import RunFolder, TrainSettings, TuneSettings
from lehr.training import evaluate
from tests.training.test_loop import stop_after
from tests.training.tiny import one_thread

__all__ = ["one_thread"]

USERS = """
from torch import nn
def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, num_classes))
"""
SHORT = {"epochs": 2, "threads": 1, "batch_size": 64}


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    """A trained run, a network of 2,010 weights."""
    place = tmp_path_factory.mktemp("dense")
    (place / "mine.py").write_text(USERS)
    model = f"{place / 'mine.py'}:net"
    before = torch.get_num_threads()
    train(TrainSettings(data="digits", model=model, **{**SHORT, "epochs": 4}), place / "run")
    torch.set_num_threads(before)
    return place / "run"


def tuned(parent: Path, out: Path, **values) -> dict:
    return tune(tune_settings(parent, {**SHORT, "sparsity": 0.5, "method": "gradual", **values}), out)


# -- a file of the user's -----------------------------------------------------------------------------------


@pytest.fixture
def users(tmp_path) -> tuple[Path, str]:
    """Weights that were trained without us, in a checkpoint with prefixes, and the file of their network."""
    (tmp_path / "mine.py").write_text(USERS)
    digits = load("digits")
    torch.manual_seed(4)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for epoch in range(4):
        for x, y in Batches(digits, 64, 0).epoch(epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    named = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"epoch": 4, "state_dict": named}, tmp_path / "best.pt")
    return tmp_path / "best.pt", f"{tmp_path / 'mine.py'}:net"


def test_a_users_file_is_tuned_down(users, tmp_path):
    weights, model = users
    cut = tuned(weights, tmp_path / "cut", data="digits", model=model, method="one-shot", epochs=0)
    stored = torch.load(weights, weights_only=True)["state_dict"]
    mask = Mask.load(tmp_path / "cut" / "mask.safetensors")
    found = RunFolder(tmp_path / "cut").weights()
    for name, tensor in found.items():
        keep = mask.get(name, True)
        assert torch.equal(tensor, stored[f"module.{name}"] * keep), "without an epoch it is plain pruning"
    small = tuned(weights, tmp_path / "small", data="digits", model=model)
    assert (small["weights"], small["kept"]) == (1776, 888)
    assert small["test"]["nll"] < cut["test"]["nll"]
    settings = RunFolder(tmp_path / "small").settings()
    assert isinstance(settings, TuneSettings)
    assert settings.parent == str(weights)
    assert settings.parent_epochs is None, "nobody knows for how long it was trained"


def test_a_users_file_is_trained_on(users, tmp_path):
    weights, model = users
    zero = train(train_settings(weights, {**SHORT, "data": "digits", "model": model, "epochs": 0}), tmp_path / "zero")
    more = train(train_settings(weights, {**SHORT, "data": "digits", "model": model}), tmp_path / "more")
    assert zero["test"]["accuracy"] > 0.8, "it is the trained one"
    assert more["test"]["nll"] < zero["test"]["nll"]
    again = tuned(tmp_path / "more", tmp_path / "small")
    assert again["kept"] == 888
    settings = RunFolder(tmp_path / "small").settings()
    assert settings.parent_epochs is None, "trained here for two epochs, and before for nobody knows how many"


def test_safetensors_and_pt_are_one_parent(users, tmp_path):
    weights, model = users
    stored = torch.load(weights, weights_only=True)["state_dict"]
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, tmp_path / "best.safetensors")
    given = {"data": "digits", "model": model}
    digests = {inherit(path, given)["parent_digest"] for path in (weights, tmp_path / "best.safetensors")}
    assert len(digests) == 1


@pytest.mark.parametrize("missing", ["data", "model"])
def test_a_file_says_nothing_of_its_data_and_network(users, missing):
    weights, model = users
    given = {"data": "digits", "model": model, missing: None}
    with pytest.raises(LehrError, match=f"^{weights} is a file of weights, so --{missing} must be given$"):
        tune_settings(weights, {**SHORT, "sparsity": 0.5, "method": "gradual", **given})


def test_weights_that_do_not_fit_are_one_sentence(users, tmp_path):
    weights, model = users
    stored = torch.load(weights, weights_only=True)["state_dict"]
    for change, sentence in (
        (lambda w: w.pop("module.3.bias"), "does not fit the network: 3.bias is missing"),
        (lambda w: w.update({"module.4.weight": torch.zeros(2)}), "it has 4.weight, which the network lacks"),
        (lambda w: w.update({"module.1.weight": torch.zeros(24, 784)}), r"1.weight is (24, 784), not (24, 64)"),
    ):
        changed = dict(stored)
        change(changed)
        torch.save(changed, tmp_path / "changed.pt")
        with pytest.raises(LehrError) as told:
            tuned(tmp_path / "changed.pt", tmp_path / "out", data="digits", model=model)
        assert str(told.value).startswith(f"the network of {tmp_path / 'changed.pt'} does not fit the network: ")
        assert sentence in str(told.value)
        assert "\n" not in str(told.value)
        assert not (tmp_path / "out").exists(), "nothing is begun"


def test_a_path_to_nothing_is_told(tmp_path):
    for name, sentence in (("best.pt", "there is no file .*best.pt"), ("run", "run is not a run")):
        with pytest.raises(LehrError, match=sentence):
            tune_settings(tmp_path / name, {"sparsity": 0.5, "method": "gradual", "epochs": 1})


# -- a run that is sparse already ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half(dense, tmp_path_factory) -> Path:
    """The dense run tuned to one half."""
    out = tmp_path_factory.mktemp("half") / "run"
    before = torch.get_num_threads()
    tuned(dense, out, scope="layer")
    torch.set_num_threads(before)
    return out


@pytest.mark.parametrize("method", ["one-shot", "gradual", "iterative", "temperature-annealing", "random-annealing"])
def test_a_sparse_run_goes_on_within_its_mask(half, tmp_path, method):
    result = tuned(half, tmp_path / "run", method=method, sparsity=0.9, scope="layer")
    first, second = Mask.load(half / "mask.safetensors"), Mask.load(tmp_path / "run" / "mask.safetensors")
    assert result["kept"] == second.kept == round(0.1 * 1776)
    assert (second - first).kept == 0, "no weight that was cut comes back"
    weights = RunFolder(tmp_path / "run").weights()
    assert all((weights[name][~keep] == 0).all() for name, keep in second.items())
    densities = [row["density"] for row in RunFolder(tmp_path / "run").metrics()]
    assert all(density <= first.density + 1e-9 for density in densities)


@pytest.mark.parametrize("method", ["gradual", "iterative"])
def test_a_density_that_falls_starts_at_the_former_one(half, tmp_path, method):
    settings = tune_settings(half, {**SHORT, "sparsity": 0.9, "method": method})
    within = former_mask(half)
    mask = Mask(
        {name: keep & (torch.arange(keep.numel()).reshape(keep.shape) % 5 == 0) for name, keep in within.items()}
    )
    built = build_method(settings, mask, 10, within)
    assert built.density(0) == pytest.approx(0.5, abs=1e-3)
    assert built.density(10) == mask.density
    densities = [built.density(t) for t in range(11)]
    assert densities == sorted(densities, reverse=True)


def test_less_sparsity_than_before_is_refused(half, tmp_path):
    with pytest.raises(LehrError, match="sparsity is 0.3 and the run in .* is 0.5 sparse already: ask for more"):
        tuned(half, tmp_path / "run", sparsity=0.3)


def test_a_dense_run_and_a_file_have_no_mask(dense, users):
    assert former_mask(dense) is None
    assert former_mask(users[0]) is None


# -- parents that move --------------------------------------------------------------------------------------


def test_a_parent_that_was_moved_is_the_same_parent(dense, tmp_path, monkeypatch):
    first, moved = tmp_path / "first", tmp_path / "elsewhere" / "moved"
    shutil.copytree(dense, first)
    tuned(first, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 15)
        with pytest.raises(Interrupted):
            tuned(first, tmp_path / "cut")
    moved.parent.mkdir()
    first.rename(moved)
    values = {**SHORT, "sparsity": 0.5, "method": "gradual"}
    assert tune_settings(moved, values).digest == RunFolder(tmp_path / "cut").settings().digest
    tune(tune_settings(moved, values), tmp_path / "cut", resume=True)
    for name in ("model.safetensors", "mask.safetensors", "metrics.jsonl", "result.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_another_network_in_the_parents_place_is_another_run(dense, users, tmp_path):
    weights, model = users
    values = {**SHORT, "sparsity": 0.5, "method": "one-shot", "data": "digits", "model": model}
    tune(tune_settings(weights, values), tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    stored = torch.load(weights, weights_only=True)["state_dict"]
    stored["module.1.bias"] += 1e-6
    torch.save(stored, weights)
    with pytest.raises(LehrError, match=r"holds a run with other settings \(parent_digest differ\)"):
        tune(tune_settings(weights, values), tmp_path / "run", resume=True)


# -- what a run has from its parent -------------------------------------------------------------------------


def test_a_run_has_its_parents_data_and_optimizer_unless_told_otherwise(dense):
    values = inherit(dense, {"epochs": 1, "batch_size": 32, "optimizer": None})
    parent = RunFolder(dense).settings()
    assert (values["data"], values["model"], values["optimizer"]) == ("digits", parent.model, "sgd")
    assert (values["batch_size"], values["epochs"]) == (32, 1)
    assert "seed" not in values
    assert "lr" not in values
    assert tune_settings(dense, {"epochs": 1, "sparsity": 0.5, "method": "gradual"}).parent_epochs == 4


def test_a_distilled_run_learns_from_its_dense_parent(dense, tmp_path):
    """With all the weight on the parent the sparse network comes nearer to it than it was after the cut."""
    tuned(dense, tmp_path / "cut", method="one-shot", epochs=0)
    tuned(dense, tmp_path / "run", method="one-shot", distill=1.0, lr=0.02)
    digits = load("digits")
    x = digits.prepare.judged(digits.test.inputs)

    def chances(folder: Path) -> torch.Tensor:
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
        net.load_state_dict(RunFolder(folder).weights())
        assert evaluate(net, digits.test, digits).accuracy == RunFolder(folder).result()["test"]["accuracy"]
        with torch.no_grad():
            return net(x).softmax(-1)

    far, near = ((chances(tmp_path / name) - chances(dense)).abs().mean() for name in ("cut", "run"))
    assert near < 0.8 * far


# -- what is noticed ----------------------------------------------------------------------------------------


def test_smoothing_is_as_the_settings_have_it(dense):
    own = {
        "smooth": "labels+activations+skips",
        "smooth_for": "7it",
        "label_smoothing": 0.3,
        "softness": 2.0,
        "skip": 0.4,
    }
    settings = tune_settings(dense, {**SHORT, "sparsity": 0.5, "method": "one-shot", **own})
    digits = load("digits")
    found = build_smoothing(settings, create("lenet5", **digits.sizes), digits)
    assert found is not None
    assert (found.steps, found.labels, found.softness, found.skip) == (7, 0.3, 2.0, 0.4)


def test_labels_are_smoothed_where_a_run_is_tuned(dense, tmp_path):
    for name, own in (("plain", {}), ("smooth", {"smooth": "labels", "label_smoothing": 0.5})):
        tuned(dense, tmp_path / name, method="one-shot", epochs=1, **own)
    plain, smooth = (RunFolder(tmp_path / name).weights() for name in ("plain", "smooth"))
    assert any(not torch.equal(plain[name], smooth[name]) for name in plain)


def test_a_healthy_run_has_no_notes(dense, tmp_path):
    assert "notes" not in tuned(dense, tmp_path / "run")


def test_a_collapse_is_told_in_the_result(dense, tmp_path):
    result = tuned(dense, tmp_path / "run", method="one-shot", lr=5.0)
    first = RunFolder(tmp_path / "run").metrics()[0]["validation_accuracy"]
    accuracy = RunFolder(dense).result()["validation"]["accuracy"]
    told = f"the accuracy fell from {100 * accuracy:.1f} % to {100 * first:.1f} % in the first epoch"
    assert [note.split(":")[0] for note in result["notes"]] == [told]


def test_layers_about_to_empty_are_told_in_the_result(dense, tmp_path):
    result = tuned(dense, tmp_path / "run", method="one-shot", sparsity=0.99, score="random", scope="layer", epochs=1)
    mask = Mask.load(tmp_path / "run" / "mask.safetensors")
    kept = {row.name: row.kept for row in mask.layers()}
    assert kept == {"1.weight": 15, "3.weight": 3} or sum(kept.values()) == 18
    starts = [note.split(":")[0] for note in result["notes"]]
    for name, outputs in (("1.weight", 24), ("3.weight", 10)):
        assert f"{name} keeps {kept[name]} weights for {outputs} outputs" in starts


def test_a_layer_without_large_weights_is_no_obstacle_to_a_target_that_moves(users, tmp_path):
    """As in many networks at their initialisation, where nothing has been cut yet and the target will be chosen again."""
    weights, model = users
    stored = torch.load(weights, weights_only=True)["state_dict"]
    stored["module.3.weight"] *= 1e-4
    torch.save(stored, tmp_path / "uneven.pt")
    given = {"data": "digits", "model": model, "sparsity": 0.9, "epochs": 1}
    moving = {"method": "temperature-annealing", "target": "moving"}
    others = [moving, {"method": "stochastic-threshold"}, {"method": "ac-dc", "cycles": 2}]
    for number, values in enumerate([{}, {"epochs": 0}, {"anneal": "0"}, *others]):
        tuned(tmp_path / "uneven.pt", tmp_path / f"run{number}", **{**given, **values})
        mask = Mask.load(tmp_path / f"run{number}" / "mask.safetensors")
        assert (mask.kept, all(row.kept for row in mask.layers())) == (178, True)
    for values in ({"target": "fixed"}, {"method": "one-shot"}, {"method": "temperature-annealing"}):
        with pytest.raises(LehrError, match=r"sparsity 0\.9 leaves no weight in 3\.weight"):
            tuned(tmp_path / "uneven.pt", tmp_path / "refused", **given, **values)


def test_a_collapse_is_noticed_where_the_parent_is_a_file(users, tmp_path):
    """A file has no accuracy to compare with, so its network is judged first."""
    weights, model = users
    result = tuned(weights, tmp_path / "run", data="digits", model=model, method="one-shot", lr=5.0)
    assert result["notes"][0].startswith("the accuracy fell from ")
