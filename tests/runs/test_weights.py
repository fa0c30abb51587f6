"""Weights from files of the user's: what is read, what is refused, and that nothing in them runs."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from lehr import LehrError
from lehr.runs.digest import digest_of, weights_digest
from lehr.runs.settings import TrainSettings, TuneSettings
from lehr.runs.weights import read_weights


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


# -- what is read -------------------------------------------------------------------------------------------


def test_safetensors(tmp_path, weights):
    save_file(weights, tmp_path / "w.safetensors")
    assert_same(read_weights(tmp_path / "w.safetensors"), weights)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict(tmp_path, weights, suffix, zipped):
    torch.save(weights, tmp_path / f"w{suffix}", _use_new_zipfile_serialization=zipped)
    assert_same(read_weights(tmp_path / f"w{suffix}"), weights)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_weights_within_a_checkpoint(tmp_path, weights, key):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1, momentum=0.9).state_dict()
    torch.save({"epoch": 3, "optimizer": optimizer, key: weights}, tmp_path / "w.pt")
    assert_same(read_weights(tmp_path / "w.pt"), weights)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
@pytest.mark.parametrize("kind", [".pt", ".safetensors", "nested"])
def test_prefixes_of_wrappers_are_taken_off(tmp_path, weights, prefix, kind):
    named = {prefix + name: tensor for name, tensor in weights.items()}
    path = tmp_path / ("w.safetensors" if kind == ".safetensors" else "w.pt")
    if kind == ".safetensors":
        save_file(named, path)
    else:
        torch.save({"state_dict": named} if kind == "nested" else named, path)
    assert_same(read_weights(path), weights)


def test_a_name_of_the_networks_own_is_no_prefix(tmp_path, weights):
    """Only what stands before every name is a wrapper's."""
    named = {"module.weight": torch.zeros(2), "head.weight": torch.ones(2)}
    torch.save(named, tmp_path / "w.pt")
    assert_same(read_weights(tmp_path / "w.pt"), named)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own
def test_a_compiled_network(tmp_path, weights):
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    net.load_state_dict(weights)
    torch.save(torch.compile(net).state_dict(), tmp_path / "w.pt")
    assert_same(read_weights(tmp_path / "w.pt"), weights)


def test_tensors_with_gradients_and_of_other_types(tmp_path):
    kinds = {"p": nn.Parameter(torch.ones(2)), "h": torch.ones(2, dtype=torch.bfloat16), "n": torch.tensor(3)}
    torch.save(kinds, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert {name: tensor.dtype for name, tensor in found.items()} == {name: t.dtype for name, t in kinds.items()}


# -- what is refused ----------------------------------------------------------------------------------------


class Payload:
    """What a file from a stranger may hold: a call of any function."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["torch", "plain pickle", "nested"])
def test_code_in_a_file_never_runs(tmp_path, weights, form):
    trace = tmp_path / "it_ran"
    path = tmp_path / "w.pt"
    if form == "torch":
        torch.save(Payload(trace), path)
    elif form == "nested":
        torch.save({"state_dict": weights, "extra": Payload(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(Payload(trace)))
    with pytest.raises(LehrError) as told:
        read_weights(path)
    assert not trace.exists()
    reason = "holds more than tensors, and such a file can run code: save model.state_dict() alone"
    assert str(told.value) == f"{path} {reason}"
    if form == "torch":  # the file is what it is taken for
        torch.load(path, weights_only=False)
        assert trace.exists()


def test_a_whole_module_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "net.pt")
    with pytest.raises(LehrError, match=r"^\S*net.pt holds more than tensors, [^:]*: save model.state_dict\(\) alone$"):
        read_weights(tmp_path / "net.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("part", [0, 1, 7, 100, -1, -100])
def test_a_truncated_file_is_refused_in_one_sentence(tmp_path, weights, suffix, part):
    path = tmp_path / f"w{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:part])
    with pytest.raises(LehrError, match=f"w{suffix} ") as told:
        read_weights(path)
    assert "\n" not in str(told.value)


def test_files_of_other_kinds_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "text.pt").write_text("not weights at all\n" * 9)
    (tmp_path / "text.safetensors").write_text("not weights at all\n" * 9)
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as file:
        file.writestr("a", "b")
    for name in ("text.pt", "text.safetensors", "zip.pt"):
        with pytest.raises(LehrError) as told:
            read_weights(tmp_path / name)
        assert name in str(told.value)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2), [torch.zeros(2)], {}, {"a": 1}, {"a": torch.zeros(2), "epoch": 3}, {"state_dict": {}},
        {"model": {"a": "b"}}, 3, None,
    ],
    ids=str,
)  # fmt: skip
def test_what_holds_no_weights_by_name_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(LehrError, match=r"w.pt holds no weights by name: save model.state_dict\(\)$"):
        read_weights(tmp_path / "w.pt")


def test_places_without_a_file_of_weights(tmp_path, weights):
    (tmp_path / "folder.pt").mkdir()
    for name in ("folder.pt", "nowhere.pt", "."):
        with pytest.raises(LehrError, match="there is no file .*: give the folder of a run or a file of weights"):
            read_weights(tmp_path / name)
    for name in ("w.npz", "w.pt.zip", "w"):
        torch.save(weights, tmp_path / name)
        with pytest.raises(LehrError, match=f"{name} is not a file of weights: give one of .lehr, .safetensors"):
            read_weights(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="ROOT: files that cannot be read need an ordinary user")
def test_a_file_that_may_not_be_read(tmp_path, weights):
    torch.save(weights, tmp_path / "w.pt")
    (tmp_path / "w.pt").chmod(0)
    with pytest.raises(LehrError, match="w.pt cannot be read"):
        read_weights(tmp_path / "w.pt")


# -- names of weights ---------------------------------------------------------------------------------------


def test_a_digest_goes_by_names_shapes_and_bits(weights):
    digest = weights_digest(weights)
    assert len(digest) == 32
    assert digest == weights_digest(dict(reversed(weights.items()))), "whatever the order"
    name = "0.weight"
    for changed in (
        {**weights, name: weights[name].mT.contiguous()},
        {**weights, name: weights[name] + 1e-7},
        {**weights, name: weights[name].reshape(-1)},
        {k: v for k, v in weights.items() if k != name},
        {**{k: v for k, v in weights.items() if k != name}, "1.weight2": weights[name]},
    ):
        assert weights_digest(changed) != digest
    assert weights_digest({"w": torch.tensor([0.0])}) != weights_digest({"w": torch.tensor([-0.0])})


def test_a_digest_goes_by_values_not_by_layout(weights):
    turned = {name: t.mT.contiguous().mT if t.ndim == 2 else t for name, t in weights.items()}
    assert not turned["0.weight"].is_contiguous()
    assert weights_digest(turned) == weights_digest(weights)
    assert digest_of({"w": torch.ones(2)}) == digest_of({"w": torch.ones(2).numpy()})
    assert digest_of({}, {"a": 1, "b": 2}) == digest_of({}, {"b": 2, "a": 1}) != digest_of({}, {"a": 1})


@given(st.lists(st.floats(width=32), max_size=6))
def test_any_numbers_have_a_digest(values):
    tensor = torch.tensor(values)
    assert weights_digest({"w": tensor}) == weights_digest({"w": tensor.clone()})


def test_a_run_is_named_by_its_parents_weights_not_by_their_place():
    given = {"data": "digits", "model": "lenet5", "epochs": 1, "parent_digest": "a"}
    for kind, more in ((TrainSettings, {}), (TuneSettings, {"method": "gradual", "sparsity": 0.5})):
        here, there = (kind(**given, **more, parent=place) for place in ("here", "there"))
        assert here.digest == there.digest
        assert here.digest != kind(**{**given, "parent_digest": "b"}, **more, parent="here").digest
    assert len({TrainSettings(**given, parent=None).digest, here.digest}) == 2


def test_a_small_file_cannot_demand_memory(tmp_path):
    torch.save({"w": torch.zeros(1).expand(2_000_000, 1_000_000)}, tmp_path / "huge.pt")
    with pytest.raises(LehrError, match="holds w without all of its values"):
        read_weights(tmp_path / "huge.pt")
    torch.save({"w": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    with pytest.raises(LehrError, match="save it as an ordinary dense tensor"):
        read_weights(tmp_path / "sparse.pt")
