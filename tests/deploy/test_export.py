"""Exported networks compute what torch does, whatever the batch, and nothing wrong is ever left in the file's place."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_file
from torch import Tensor, nn

from lehr.base.errors import LehrError
from lehr.deploy import export
from lehr.deploy.export import export_onnx, export_safetensors
from lehr.masks import Mask, select
from lehr.models import create, models

USUAL = ("lenet5", "resnet20", "vgg11", "wrn_10_1", "vit_tiny", "gpt_mini", "text_encoder")  # one of each kind
TEXT = ("gpt_mini", "gpt_char", "text_encoder")
IMAGE = (3, 32, 32)


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(name: str) -> tuple[nn.Module, Tensor]:
    """A network as after a pruned training, and two inputs."""
    torch.manual_seed(0)
    if name in TEXT:
        model = create(name, vocabulary=50, context=16, num_classes=None if name.startswith("gpt") else 3)
        inputs = torch.randint(0, 50, (2, 16))
        inputs[1, 9:] = 0  # padding
    else:
        model, inputs = create(name, num_classes=10, input_shape=IMAGE), torch.randn(2, *IMAGE)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    select(model, 0.9, scope="layer").apply_(model)
    return model, inputs


def run(path, inputs: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": inputs.numpy()})[0]


def check_exported(name, tmp_path, capfd):
    model, inputs = made(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    model.train()
    exported = export_onnx(model, tmp_path / "net.onnx", inputs)
    assert exported.difference < 1e-5
    assert exported.size == (tmp_path / "net.onnx").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"], "one file, and nothing beside it"
    assert model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    with torch.no_grad():
        for count in (1, 3, 8):
            batch = inputs.repeat(4, *[1] * (inputs.dim() - 1))[:count]
            torch.testing.assert_close(
                torch.from_numpy(run(tmp_path / "net.onnx", batch)), model.eval()(batch), rtol=1e-4, atol=1e-5
            )
    assert capfd.readouterr() == ("", ""), "the exporter is quiet"


@pytest.mark.parametrize("name", USUAL)
def test_a_network_of_every_kind_is_exported(name, tmp_path, capfd):
    check_exported(name, tmp_path, capfd)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in models if name not in USUAL])
def test_every_other_network_is_exported(name, tmp_path, capfd):
    check_exported(name, tmp_path, capfd)


def test_the_zeros_are_in_the_file(tmp_path):
    model = create("lenet_300_100", num_classes=10, input_shape=(1, 8, 8))
    mask = select(model, 0.9, scope="layer").apply_(model)
    exported = export_onnx(model, tmp_path / "net.onnx", torch.randn(3, 1, 8, 8))
    tensors = [numpy_helper.to_array(one) for one in onnx.load(exported.path).graph.initializer]
    matrices = [array for array in tensors if array.ndim == 2]
    assert sum(int((array != 0).sum()) for array in matrices) == mask.kept
    assert sum(array.size for array in matrices) == mask.size
    assert exported.size > 4 * mask.size


def test_a_batch_of_one_is_enough(tmp_path):
    model, inputs = made("lenet5")
    export_onnx(model, tmp_path / "net.onnx", inputs[:1])
    assert run(tmp_path / "net.onnx", inputs).shape == (2, 10)


class Two(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(a) + b, b * 2


def test_several_inputs_and_outputs_and_other_types(tmp_path):
    inputs = [torch.ones(4, 3), torch.ones(4, 1).double()]
    exported = export_onnx(Two().to(torch.bfloat16), tmp_path / "net.onnx", inputs)
    session = onnxruntime.InferenceSession(exported.path)
    assert [(one.name, one.type) for one in session.get_inputs()] == [
        ("input_0", "tensor(float)"), ("input_1", "tensor(float)"),
    ]  # fmt: skip
    assert len(session.get_outputs()) == 2


class Undecided(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x


class Named(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": x + 1}


class NoNumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Undecided(), "Undecided cannot be exported to ONNX"),
        (Named(), "Named gives a dict: wrap it so that it gives tensors"),
        (NoNumber(), "differ by nan of the largest output"),
    ],
    ids=["undecided", "named", "no number"],
)
def test_what_cannot_be_exported_is_told_and_nothing_is_left(model, message, tmp_path, capfd):
    (tmp_path / "net.onnx").write_text("as it was")
    with pytest.raises(LehrError) as told:
        export_onnx(model, tmp_path / "net.onnx", torch.ones(2, 3))
    assert message in str(told.value)
    assert "\n" not in str(told.value)
    assert (tmp_path / "net.onnx").read_text() == "as it was"
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert capfd.readouterr() == ("", "")


def test_a_batch_size_that_became_a_constant_is_told(tmp_path, monkeypatch):
    def fixed(model, path, inputs):
        program = torch.onnx.export(model, inputs, dynamo=True, verbose=False, input_names=["input"])
        program.save(str(path))

    with export._silent():
        monkeypatch.setattr(export, "_export", fixed)
        with pytest.raises(LehrError, match=r"does not run Linear on 1 inputs .*x.shape\[0\], not from len\(x\)"):
            export_onnx(nn.Linear(3, 2), tmp_path / "net.onnx", torch.ones(2, 3))


def test_a_file_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    right = export._export

    def wrong(model, path, inputs):
        with torch.no_grad():
            changed = nn.Linear(3, 2)
            changed.weight.copy_(model.weight * 1.001)
            changed.bias.copy_(model.bias)
        right(changed, path, inputs)

    monkeypatch.setattr(export, "_export", wrong)
    with pytest.raises(LehrError, match=r"differ by 0.\d+ of the largest output of Linear, which is more than 0.0001"):
        export_onnx(nn.Linear(3, 2), tmp_path / "net.onnx", torch.ones(2, 3))
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(LehrError, match=r"^an ONNX file needs onnxscript: pip install 'lehr\[onnx\]'$"):
        export_onnx(nn.Linear(3, 2), tmp_path / "net.onnx", torch.ones(2, 3))


NO_BATCHES = [[], [torch.ones(2, 3), torch.ones(3, 3)], torch.ones(0, 3), torch.tensor(1.0)]


@pytest.mark.parametrize("inputs", NO_BATCHES, ids=["none", "two sizes", "empty", "scalar"])
def test_inputs_that_are_no_batch_are_told(inputs, tmp_path):
    with pytest.raises(LehrError, match="the example inputs are not of one batch"):
        export_onnx(nn.Linear(3, 2), tmp_path / "net.onnx", inputs)


def test_too_large_for_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LARGEST", 10)
    with pytest.raises(LehrError, match="the weights are 32 bytes and one ONNX file holds 10: use safetensors"):
        export_onnx(nn.Linear(3, 2), tmp_path / "net.onnx", torch.ones(2, 3))


def test_a_folder_that_cannot_be_written_is_told():
    with pytest.raises(LehrError, match="cannot write /proc/net.onnx"):
        export_onnx(nn.Linear(3, 2), "/proc/net.onnx", torch.ones(2, 3))


def test_logging_is_as_before(tmp_path):
    logging.disable(logging.DEBUG)
    try:
        export_onnx(nn.Linear(3, 2), tmp_path / "net.onnx", torch.ones(2, 3))
        assert logging.root.manager.disable == logging.DEBUG
    finally:
        logging.disable(logging.NOTSET)


# -- safetensors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet20", "gpt_mini"])
def test_a_state_dict_is_loaded_back(name, tmp_path):
    model, _ = made(name)
    exported = export_safetensors(model, tmp_path / "net.safetensors")
    state = load_file(exported.path)
    assert exported.difference is None
    assert exported.size == exported.path.stat().st_size
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())
    other, _ = made(name)
    other.load_state_dict(state)
    assert Mask.from_zeros(other) == Mask.from_zeros(model)


def test_what_is_no_tensor_is_told(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self) -> str:
            return "text"

    with pytest.raises(LehrError, match="_extra_state of the state dict is no ordinary tensor"):
        export_safetensors(Extra(2, 1), tmp_path / "net.safetensors")
    with pytest.raises(LehrError, match="weight of the state dict is no ordinary tensor"):
        export_safetensors(nn.Linear(2, 1, device="meta"), tmp_path / "net.safetensors")
