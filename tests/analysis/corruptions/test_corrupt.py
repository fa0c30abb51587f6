"""`corrupt`: the same bits however it is batched, grey images, bad input."""

from importlib import import_module

import numpy as np
import pytest
import torch

from lehr import LehrError
from lehr.analysis.corruptions import SEVERITIES, corrupt, corruptions
from tests.analysis.corruptions.references import draws_for, pictures

module = import_module("lehr.analysis.corruptions.corrupt")


def tensors(count: int, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.from_numpy(pictures(count, height, width)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", corruptions)
def test_any_batching_gives_the_same_bits(name, severity, monkeypatch):
    images = tensors(7)
    whole = corrupt(images, name, severity, seed=1, start=10)
    ones = [corrupt(images[i : i + 1], name, severity, seed=1, start=10 + i) for i in range(7)]
    assert torch.cat(ones).equal(whole)
    parts = [
        corrupt(images[:4], name, severity, seed=1, start=10),
        corrupt(images[4:], name, severity, seed=1, start=14),
    ]
    assert torch.cat(parts).equal(whole)
    monkeypatch.setattr(module, "CHUNK", 3)
    assert corrupt(images, name, severity, seed=1, start=10).equal(whole)
    neighbours = images.clone()
    neighbours[[0, 1, 3, 4, 5, 6]] = 255 - neighbours[[0, 1, 3, 4, 5, 6]]
    assert corrupt(neighbours, name, severity, seed=1, start=10)[2].equal(whole[2])


@pytest.mark.parametrize("name", corruptions)
def test_levels_are_rounded_down_as_published(name):
    images = tensors(2)
    floats = corruptions[name](pictures(2) / 255, 2, draws_for(name, 2, 2))
    expected = (floats * 255).astype(np.uint8).transpose(0, 3, 1, 2)
    result = corrupt(images, name, 2)
    assert result.dtype == torch.uint8
    assert result.is_contiguous()
    assert (result.numpy() == expected).all()


RANDOM = "gaussian_noise shot_noise impulse_noise glass_blur motion_blur snow frost fog elastic_transform speckle_noise"


@pytest.mark.parametrize("name", [*RANDOM.split(), "spatter"])
def test_seed_position_and_name_choose_the_numbers(name):
    images = tensors(1).expand(2, -1, -1, -1)
    result = corrupt(images, name, 3)
    assert not result[0].equal(result[1])
    assert not corrupt(images, name, 3, seed=1).equal(result)
    torch.manual_seed(0), np.random.seed(0)  # noqa: NPY002  (global generators have no say)
    assert corrupt(images, name, 3).equal(result)


def test_grey_images_are_three_equal_channels_averaged_back():
    grey = tensors(3)[:, :1]
    for name in corruptions:
        colour = corrupt(grey.expand(-1, 3, -1, -1), name, 4).double().mean(dim=1, keepdim=True)
        result = corrupt(grey, name, 4)
        assert result.shape == grey.shape
        assert (result.double() - colour).abs().max() <= 1 / 3 + 1e-9
    flat = torch.full((1, 1, 28, 28), 77, dtype=torch.uint8)
    for name in ("motion_blur", "pixelate"):
        assert (corrupt(flat, name, 5) == 77).all()


def test_levels_survive_the_way_through_floats():
    """Every level k: pixelate and motion blur of a flat image give k back, not k - 1."""
    flat = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1).expand(-1, 3, 16, 16)
    for name in ("pixelate", "motion_blur"):
        assert corrupt(flat, name, 1).equal(flat)


def test_no_images_and_images_in_another_layout():
    assert corrupt(tensors(1)[:0], "fog", 1).shape == (0, 3, 32, 32)
    images = tensors(2)
    strided = images.to(memory_format=torch.channels_last)
    assert corrupt(strided, "snow", 2).equal(corrupt(images, "snow", 2))
    before = images.clone()
    corrupt(images, "snow", 2)
    assert images.equal(before)


IMAGES = tensors(1)
BAD = [
    (IMAGES, "fogg", 1, {}, "there is no corruption 'fogg': did you mean 'fog'?"),
    (IMAGES, "fog", 0, {}, "severity is 0: give a whole number from 1 (mild) to 5 (strong)"),
    (IMAGES, "fog", 6, {}, "severity is 6: give a whole number"),
    (IMAGES, "fog", 2.5, {}, "severity is 2.5: give a whole number"),
    (IMAGES, "fog", True, {}, "severity is True: give a whole number"),
    (IMAGES, "fog", 1, {"start": -1}, "start is -1: give the position of the first image, 0 or more"),
    (IMAGES.float(), "fog", 1, {}, "the images are torch.float32: give raw pixel values as torch.uint8"),
    (IMAGES[0], "fog", 1, {}, "the images have shape (3, 32, 32): give (N, 1 or 3, height, width)"),
    (IMAGES[:, :2], "fog", 1, {}, "the images have shape (1, 2, 32, 32): give (N, 1 or 3, height, width)"),
    (
        IMAGES[..., :8, :8],
        "fog",
        1,
        {},
        "the images are 8x8 and corruptions need at least 16x16: give a data set of larger ones",
    ),
    (IMAGES[..., :15], "fog", 1, {}, "the images are 32x15 and corruptions need at least 16x16"),
]


@pytest.mark.parametrize(("images", "name", "severity", "more", "message"), BAD)
def test_bad_input_is_one_sentence(images, name, severity, more, message):
    with pytest.raises(LehrError) as error:
        corrupt(images, name, severity, **more)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.data
def test_real_images_come_out_near_what_they_were(real_data):
    from lehr.data import load

    test = load("cifar10").test
    images = next(tensor for tensor in vars(test).values() if tensor.ndim == 4)[:200]
    for name in corruptions:
        for severity in SEVERITIES:
            change = (corrupt(images, name, severity).float() - images.float()).abs().mean()
            assert 0.5 < change < 70, (name, severity)
