"""Reading a user's CIFAR-10-C folder: made-up files with holes instead of 150 MB."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lehr import LehrError
from lehr.analysis.corruptions import load_published


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fog = np.lib.format.open_memmap(tmp_path / "fog.npy", "w+", np.uint8, (50_000, 32, 32, 3))
    for severity in (1, 2, 5):
        fog[10_000 * (severity - 1)] = severity
        fog[10_000 * severity - 1, 3, 4] = [10, 20, severity]
    fog.flush()
    np.save(tmp_path / "labels.npy", (np.arange(50_000) % 10_000 % 7).astype(np.uint8))
    return tmp_path


def test_a_severity_is_a_block_of_ten_thousand(folder):
    for severity in (1, 2, 5):
        images, labels = load_published(folder, "fog", severity)
        assert images.shape == (10_000, 3, 32, 32)
        assert images.dtype == torch.uint8
        assert images.is_contiguous()
        assert (images[0] == severity).all()
        assert images[-1, :, 3, 4].tolist() == [10, 20, severity]
        assert labels.dtype == torch.int64
        assert labels[:9].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    images, labels = load_published(folder, "fog", 2, count=3)
    assert (len(images), len(labels)) == (3, 3)
    images[0] = 0  # a copy, not the file


def spoil(folder: Path, how: str) -> None:
    fog, labels = folder / "fog.npy", folder / "labels.npy"
    if how == "no folder":
        fog.unlink()
    elif how == "no labels":
        labels.unlink()
    elif how == "cut off":
        os.truncate(fog, 1000)
    elif how == "empty":
        fog.write_bytes(b"")
    elif how == "text":
        fog.write_text("<html>not found</html>")
    elif how == "pickle":
        np.save(fog, np.array([{}], dtype=object), allow_pickle=True)
    elif how == "archive":
        with fog.open("wb") as file:
            np.savez(file, a=np.zeros(3))
    elif how == "shape":
        np.save(fog, np.zeros((10_000, 3), np.uint8))
    elif how == "floats":
        np.save(labels, np.zeros(50_000, np.float32))
    elif how == "few labels":
        np.save(labels, np.zeros(10_000, np.uint8))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no folder", "fog.npy is missing: give the folder of CIFAR-10-C"),
        ("no labels", "labels.npy is missing: give the folder of CIFAR-10-C"),
        ("cut off", "fog.npy is not a whole NumPy file"),
        ("empty", "fog.npy is not a whole NumPy file"),
        ("text", "fog.npy is not a whole NumPy file"),
        ("pickle", "fog.npy is not a whole NumPy file"),
        ("archive", "fog.npy is an archive of arrays and should be one array"),
        ("shape", "fog.npy has uint8 of shape (10000, 3) and should have uint8 of (50000, 32, 32, 3)"),
        ("floats", "labels.npy has float32 of shape (50000,) and should have integers of (50000,)"),
        ("few labels", "labels.npy has uint8 of shape (10000,) and should have integers of (50000,)"),
    ],
)
def test_bad_files(folder, how, message):
    spoil(folder, how)
    with pytest.raises(LehrError) as error:
        load_published(folder, "fog", 1)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "severity", "count", "message"),
    [
        ("fogg", 1, None, "there is no published corruption 'fogg': did you mean 'fog'"),
        ("../fog", 1, None, "there is no published corruption '../fog'"),
        ("fog", 6, None, "severity is 6"),
        ("fog", 1, 0, "count is 0: give a whole number from 1 to 10000, or None for all"),
        ("fog", 1, 10_001, "count is 10001"),
    ],
)
def test_bad_input(tmp_path, name, severity, count, message):
    with pytest.raises(LehrError) as error:
        load_published(tmp_path, name, severity, count)
    assert str(error.value).startswith(message)
