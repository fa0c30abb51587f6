"""`lehr pack`, and what takes the file that it writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import lehr as library
from lehr import Mask
from lehr.cli.main import run as main

NETWORK = ("--data", "digits", "--model", "lenet_300_100")


class Shell:
    """Runs the command line in this process."""

    def __init__(self, capfd, monkeypatch) -> None:
        self.capfd, self.monkeypatch = capfd, monkeypatch

    def __call__(self, *words: object, code: int = 0) -> str:
        """What is printed: on the usual output, or where it fails as it should, the error."""
        self.monkeypatch.setattr(sys, "argv", ["lehr", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        out = self.capfd.readouterr()
        assert int(stop.value.code or 0) == code, out.err
        if code:
            assert out.err.startswith("error: ")
            assert out.err.count("\n") == 1
        return out.err if code else out.out


@pytest.fixture
def lehr(capfd, monkeypatch):
    return Shell(capfd, monkeypatch)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with a dense run and a tuned one."""
    from lehr.recipes.train import train
    from lehr.recipes.tune import tune, tune_settings
    from lehr.runs import TrainSettings

    before = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("runs")
    train(TrainSettings(data="digits", model="lenet_300_100", epochs=3, batch_size=64, threads=1), folder / "dense")
    tune(
        tune_settings(folder / "dense", {"method": "gradual", "sparsity": 0.9, "epochs": 2, "threads": 1}),
        folder / "small",
    )
    torch.set_num_threads(before)
    return folder


def test_a_tuned_run_is_packed(lehr, runs):
    printed = lehr("pack", runs / "small")
    file = runs / "small" / "small.lehr"
    assert file.is_file()
    for text in ("small.lehr", f"{file.stat().st_size:,} bytes", "entropy bound", "bits per weight", "5,020 of"):
        assert text in printed
    assert "accuracy" not in printed, "nothing is rounded"
    model, mask = library.load(file)
    tensors = load_file(runs / "small" / "model.safetensors")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())
    assert mask == Mask.load(runs / "small" / "mask.safetensors")


def test_the_same_as_json(lehr, runs, tmp_path):
    result = json.loads(lehr("pack", runs / "small", "--out", tmp_path / "f.lehr", "--json"))
    assert result.keys() == {
        "file", "values", "bytes", "bound", "bits_per_weight", "dense", "weights", "kept", "granularity",
        "runs_without_torch", "needs_torch",
    }  # fmt: skip
    assert result["bytes"] == (tmp_path / "f.lehr").stat().st_size
    assert result["bytes"] <= 1.02 * result["bound"] + 4096
    assert (result["kept"], result["values"], result["granularity"]) == (5020, "fp32", "unstructured")
    assert result["dense"] == 4 * result["weights"]
    assert result["bits_per_weight"] == 8 * result["bytes"] / result["weights"]


@pytest.mark.parametrize(("values", "width"), [("fp16", 2), ("bf16", 2), ("int8", 1)])
def test_rounded_values_are_told_with_their_accuracy(lehr, runs, tmp_path, values, width):
    result = json.loads(lehr("pack", runs / "small", "--values", values, "--out", tmp_path / "f.lehr", "--json"))
    plain = json.loads(lehr("pack", runs / "small", "--out", tmp_path / "plain.lehr", "--json"))
    saved = plain["bytes"] - result["bytes"]
    assert 0.8 * (4 - width) * 5020 < saved < 1.05 * (4 - width) * 5020
    assert result["accuracy"].keys() == {"before", "after"}
    assert abs(result["accuracy"]["after"] - result["accuracy"]["before"]) < 0.05
    printed = lehr("pack", runs / "small", "--values", values, "--out", tmp_path / "g.lehr")
    assert "validation accuracy" in printed
    assert f"as {values}" in printed


def test_a_dense_run_is_refused(lehr, runs, tmp_path):
    error = lehr("pack", runs / "dense", "--out", tmp_path / "f.lehr", code=2)
    assert "dense is dense, and packing makes only sparse networks small: run lehr tune on it first" in error
    assert not (tmp_path / "f.lehr").exists()


def test_other_mistakes_are_one_sentence(lehr, runs, tmp_path):
    error = lehr("pack", runs / "small", "--values", "int4", "--out", tmp_path / "f.lehr", code=2)
    assert "int8" in error
    assert "nowhere is not a run" in lehr("pack", "nowhere", code=2)
    assert "give the folder of a run" in lehr("pack", code=2)


@pytest.fixture
def file(lehr, runs, tmp_path) -> Path:
    lehr("pack", runs / "small", "--out", tmp_path / "x.lehr")
    return tmp_path / "x.lehr"


def test_it_is_judged(lehr, runs, file):
    packed = json.loads(lehr("evaluate", "--from", file, *NETWORK, "--json"))
    whole = json.loads(lehr("evaluate", runs / "small", "--json"))
    for name in ("accuracy", "nll", "ece"):
        assert packed[name] == whole[name]


def test_it_is_shown(lehr, runs, file):
    printed = lehr("show", file)
    for text in (f"{file.stat().st_size:,} bytes", "what it says about itself", "lenet_300_100", "layers.1.weight"):
        assert text in printed
    values = json.loads(lehr("show", file, "--json"))
    assert sum(layer["kept"] for layer in values["layers"]) == 5020
    assert values["settings"]["preprocessing"]["input_shape"] == [1, 8, 8]
    assert values["settings"]["provenance"] == {
        "lehr": library.__version__, "data": "digits", "model": "lenet_300_100", "seed": 0,
    }  # fmt: skip


def test_it_is_tuned_further(lehr, file, tmp_path):
    lehr("tune", "--from", file, *NETWORK, "--sparsity", 0.95, "--epochs", 1, "--out", tmp_path / "further")
    assert Mask.load(tmp_path / "further" / "mask.safetensors").kept == 2510


def test_it_is_packed_again_with_other_values(lehr, file, tmp_path):
    before = file.read_bytes()
    out = tmp_path / "int8.lehr"
    lehr("pack", "--from", file, *NETWORK, "--values", "int8", "--out", out)
    assert out.stat().st_size < len(before) / 2
    assert library.load_mask(out) == library.load_mask(file)
    assert file.read_bytes() == before


def test_packing_again_leaves_what_it_read_alone(lehr, file):
    before = file.read_bytes()
    lehr("pack", "--from", file, *NETWORK, "--values", "int8", code=2)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [("show", "FILE"), ("evaluate", "--from", "FILE", *NETWORK), ("pack", "--from", "FILE", *NETWORK),
     ("tune", "--from", "FILE", *NETWORK, "--sparsity", "0.95", "--epochs", "1")],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence(lehr, file, tmp_path, words):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    out = () if words[0] == "show" else ("--out", tmp_path / "out")
    error = lehr(*(file if word == "FILE" else word for word in words), *out, code=2)
    assert "x.lehr: the file is damaged (its checksum does not match): get it again" in error
    assert not list(tmp_path.glob("out/model*"))


def test_a_file_of_another_network_is_one_sentence(lehr, file):
    error = lehr("evaluate", "--from", file, "--data", "digits", "--model", "lenet5", code=2)
    assert "does not fit the network" in error


# -- bench --------------------------------------------------------------------------------------------------


def test_bench_prints_every_engine_and_every_layer(lehr, runs):
    printed = lehr("bench", runs / "small", "--against", "torch", "--seconds", "0.02", "--threads", "1")
    for text in ("batch 1, 1 threads", "lehr is faster", "torch", "density", "sparse"):
        assert text in printed


def test_bench_as_json(lehr, runs):
    told = json.loads(lehr("bench", runs / "small", "--batch", "4", "--seconds", "0.02", "--threads", "1", "--json"))
    assert [row["engine"] for row in told["engines"]] == ["lehr", "torch"]
    assert (told["batch"], told["threads"], told["torch"]) == (4, 1, [])
    assert {row["kernel"] for row in told["layers"]} <= {"sparse", "dense"}
    assert "processor" in told["environment"]


def test_a_packed_file_is_timed_too(lehr, file):
    assert "lehr is faster" in lehr("bench", "--from", file, *NETWORK, "--seconds", "0.02")
    alone = lehr("bench", file, "--batch", "3", "--seconds", "0.02", "--dtype", "bf16")
    assert "batch 3" in alone
    assert "bf16" in alone


def test_what_bench_cannot_do_is_one_sentence(lehr, runs, tmp_path):
    library.save(torch.nn.Linear(4, 2), tmp_path / "own.lehr", example_inputs=torch.zeros(1, 4))
    told = lehr("bench", tmp_path / "own.lehr", code=2)
    assert "own.lehr does not hold its architecture, or its inputs: give --data and --model" in told
    assert "there is no engine 'tensorrt'" in lehr("bench", runs / "small", "--against", "tensorrt", code=2)
    assert "there is no dtype 'fp8'" in lehr("bench", runs / "small", "--dtype", "fp8", code=2)
    assert "batch is 9999" in lehr("bench", runs / "small", "--batch", "9999", code=2)
