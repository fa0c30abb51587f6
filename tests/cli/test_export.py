"""`lehr export` as a person uses it, and a network that came from elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from lehr import Mask
from lehr.cli.main import run as main
from lehr.data import load
from lehr.recipes.train import train
from lehr.runs import TrainSettings


@pytest.fixture
def lehr(capfd, monkeypatch):
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lehr", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out = capfd.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture(scope="module", autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dense") / "run"
    train(TrainSettings(data="digits", model="lenet_300_100", epochs=3, batch_size=64, threads=1), folder)
    return folder


@pytest.fixture
def small(lehr, dense, tmp_path) -> Path:
    words = ("prune", "--from", dense, "--sparsity", "0.8", "--scope", "layer", "--out", tmp_path / "small")
    assert lehr(*words)[0] == 0
    return tmp_path / "small"


def test_an_onnx_file_predicts_what_the_run_scored(lehr, small, tmp_path):
    code, printed, error = lehr("export", small, "--out", tmp_path / "net.onnx")
    assert (code, error) == (0, "")
    for text in ("net.onnx", "bytes", "largest difference from torch", "no smaller and no faster", "lehr pack"):
        assert text in printed
    data = load("digits")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    logits = session.run(None, {"input": data.prepare.judged(data.test.inputs).numpy()})[0]
    right = np.mean(logits.argmax(1) == data.test.targets.numpy())
    assert right == pytest.approx(json.loads((small / "result.json").read_text())["test"]["accuracy"], abs=1e-6)


def test_as_json_into_the_run_folder(lehr, small):
    result = json.loads(lehr("export", small, "--json")[1])
    assert result["file"] == str(small / "network.onnx")
    assert result["bytes"] == (small / "network.onnx").stat().st_size
    assert result["difference"] < 1e-4
    assert result["nonzeros"] < 0.25 * result["weights"]


def test_safetensors_are_the_weights_of_the_run(lehr, small, tmp_path):
    code, printed, _ = lehr("export", small, "--format", "safetensors", "--out", tmp_path / "net.safetensors")
    assert code == 0
    assert "difference" not in printed
    found, own = load_file(tmp_path / "net.safetensors"), load_file(small / "model.safetensors")
    assert found.keys() == own.keys()
    assert all(torch.equal(found[name], own[name]) for name in own)


def test_a_dense_network_is_exported_without_a_word_on_zeros(lehr, dense, tmp_path):
    code, printed, _ = lehr("export", dense, "--out", tmp_path / "net.onnx")
    assert code == 0
    assert "note:" not in printed


def test_the_network_itself_is_not_written_over(lehr, small, dense, tmp_path):
    before = (small / "model.safetensors").read_bytes()
    file = tmp_path / "network.safetensors"
    file.write_bytes(before)
    of_run = ("export", small, "--format", "safetensors", "--out", small / "model.safetensors")
    of_file = ("export", "--from", file, "--data", "digits", "--model", "lenet_300_100", "--format", "safetensors")
    for words in (of_run, of_file):
        code, _, error = lehr(*words)
        assert code == 2
        assert "is the network that is exported: give another file for --out" in error
    assert (small / "model.safetensors").read_bytes() == file.read_bytes() == before


def test_a_network_that_compressed_tensors_wrote_is_judged(lehr, small, tmp_path):
    parts: dict[str, torch.Tensor] = {}
    mask = Mask.load(small / "mask.safetensors")
    for name, tensor in load_file(small / "model.safetensors").items():
        if name not in mask:
            parts[name] = tensor
            continue
        prefix, kept = name.removesuffix(".weight"), tensor != 0
        parts[f"{prefix}.compressed"] = tensor[kept]
        parts[f"{prefix}.bitmask"] = torch.from_numpy(np.packbits(kept.numpy(), axis=-1, bitorder="little"))
        parts[f"{prefix}.shape"] = torch.tensor(tensor.shape)
        parts[f"{prefix}.row_offsets"] = kept.sum(1).cumsum(0) - kept.sum(1)
    save_file(parts, tmp_path / "theirs.safetensors")
    words = ("--from", tmp_path / "theirs.safetensors", "--data", "digits", "--model", "lenet_300_100", "--json")
    code, printed, error = lehr("evaluate", *words)
    assert (code, error) == (0, "")
    result = json.loads(printed)
    assert result["accuracy"] == json.loads(lehr("evaluate", small, "--json")[1])["accuracy"]
    assert sum(row["kept"] for row in result["layers"]) == mask.kept
