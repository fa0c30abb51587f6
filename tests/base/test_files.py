import errno
import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lehr import LehrError
from lehr.base import files


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})

    def fail(beside):
        beside.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(LehrError, match=r"cannot write .*a.json \(No space left on device\): free space or choose"):
        files.write_beside(path, fail)
    assert files.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LehrError, match="cannot write"):
        files.write_text(tmp_path / "file" / "x.txt", "hello")


def test_nan_and_damage_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "nan.json", float("nan"))
    (tmp_path / "bad.json").write_text('{"a": ')
    with pytest.raises(LehrError, match="bad.json is damaged"):
        files.read_json(tmp_path / "bad.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(LehrError, match="damaged"):
        files.read_json(tmp_path / "deep.json")
    with pytest.raises(LehrError, match="cannot read"):
        files.read_json(tmp_path / "none.json")


def test_tensors_of_both_kinds_and_any_memory_format(tmp_path):
    image = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    path = files.write_tensors(tmp_path / "t.safetensors", {"a": image, "b": np.arange(3)}, {"k": "v"})
    loaded = load_file(path)
    assert torch.equal(loaded["a"], image)
    assert loaded["b"].tolist() == [0, 1, 2]


def test_tied_tensors_are_saved_once_each(tmp_path):
    one = torch.arange(6.0)
    path = files.write_tensors(tmp_path / "t.safetensors", {"a": one, "b": one, "c": one[2:]}, {})
    loaded = load_file(path)
    assert torch.equal(loaded["a"], one)
    assert torch.equal(loaded["b"], one)
    assert torch.equal(loaded["c"], one[2:])
