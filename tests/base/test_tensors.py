import numpy as np
import torch
from safetensors.torch import load_file

from lehr.base.tensors import write_tensors


def test_tensors_of_both_kinds_and_any_memory_format(tmp_path):
    image = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    path = write_tensors(tmp_path / "t.safetensors", {"a": image, "b": np.arange(3)}, {"k": "v"})
    loaded = load_file(path)
    assert torch.equal(loaded["a"], image)
    assert loaded["b"].tolist() == [0, 1, 2]


def test_tied_tensors_are_saved_once_each(tmp_path):
    one = torch.arange(6.0)
    path = write_tensors(tmp_path / "t.safetensors", {"a": one, "b": one, "c": one[2:]}, {})
    loaded = load_file(path)
    assert torch.equal(loaded["a"], one)
    assert torch.equal(loaded["b"], one)
    assert torch.equal(loaded["c"], one[2:])
