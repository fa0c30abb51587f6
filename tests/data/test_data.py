import hashlib
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lehr import LehrError
from lehr.base.draws import Purpose, Stream
from lehr.data import Batches, Dataset, Split, evaluation_batches, load
from lehr.data.batches import evaluation_size
from lehr.data.images import Pixels, crop_and_flip

sources = import_module("lehr.data.sources").sources


def test_digits_split_without_overlap():
    data = load("digits")
    assert (len(data.train), len(data.validation), len(data.test)) == (1257, 180, 360)
    parts = [{image.numpy().tobytes() for image in s.inputs} for s in (data.train, data.validation, data.test)]
    assert len(parts[0] | parts[1] | parts[2]) == sum(map(len, parts)) == 1797
    assert load("digits").train.targets.equal(data.train.targets)
    assert len(load("digits", limit=100).train) == 100


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "sizes", "shape", "test_labels"),
    [
        ("mnist", (55_000, 5_000, 10_000), (1, 28, 28), [7, 2, 1, 0, 4]),
        ("fashion_mnist", (55_000, 5_000, 10_000), (1, 28, 28), [9, 2, 1, 1, 6]),
        ("cifar10", (45_000, 5_000, 10_000), (3, 32, 32), [3, 8, 8, 0, 6]),
    ],
)
def test_real_images_come_whole_and_in_order(real_data, name, sizes, shape, test_labels):
    data = load(name)
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    assert data.input_shape == shape
    assert data.test.targets[:5].tolist() == test_labels
    assert data.train.targets.bincount().min() > 4000
    assert data.train.inputs.dtype == torch.uint8
    again = load(name)  # from the cache this time
    assert again.test.inputs.equal(data.test.inputs)
    assert again.train.targets.equal(data.train.targets)


@pytest.mark.data
def test_mnist_pixels_are_the_published_ones(real_data):
    """The idx file of the test images, rebuilt: its SHA-256 follows from the published archive."""
    images = load("mnist").test.inputs
    header = b"".join(n.to_bytes(4, "big") for n in (2051, 10_000, 28, 28))
    digest = hashlib.sha256(header + images.numpy().tobytes()).hexdigest()
    assert digest == "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"


def make(n: int = 50, augment: bool = False, size: int = 6) -> Dataset:
    images = torch.randint(0, 256, (n, 2, size, size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    split = Split(images, torch.arange(n))
    prepare = Pixels((10.0, 20.0), (2.0, 4.0), augment)
    return Dataset("made", "image-classification", split, split, split, n, (2, size, size), prepare)


def test_each_epoch_sees_each_example_once_in_a_new_order():
    batches = Batches(make(), 10, seed=3)
    epochs = [torch.cat([labels for _, labels in batches.epoch(e)]) for e in (0, 1, 0)]
    assert epochs[0].sort().values.equal(torch.arange(50))
    assert not epochs[0].equal(epochs[1])
    assert epochs[0].equal(epochs[2])
    assert not epochs[0].equal(torch.cat([y for _, y in Batches(make(), 10, seed=4).epoch(0)]))


def test_a_started_epoch_goes_on_where_it_was():
    batches = Batches(make(augment=True), 10, seed=3)
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, start=3))
    for (x, y), (a, b) in zip(whole[3:], rest, strict=True):
        assert x.equal(a)
        assert y.equal(b)


def test_processes_share_each_batch():
    whole = list(Batches(make(augment=True), 10, seed=3).epoch(0))
    halves = [list(Batches(make(augment=True), 10, seed=3, rank=r, world=2).epoch(0)) for r in (0, 1)]
    for (x, y), (a, p), (b, q) in zip(whole, *halves, strict=True):
        assert torch.cat([a, b]).equal(x)
        assert torch.cat([p, q]).equal(y)


def reference_crop(image: Tensor, top: int, left: int, mirror: bool) -> Tensor:
    """One image at a time, with slices."""
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 8, width + 8, dtype=image.dtype)
    padded[:, 4 : 4 + height, 4 : 4 + width] = image
    window = padded[:, top : top + height, left : left + width]
    return window.flip(2) if mirror else window


def test_crops_and_flips_are_windows_of_the_padded_image():
    data = make(40)
    stream = Stream(0, "a", Purpose.AUGMENT)
    out = crop_and_flip(data.train.inputs, stream)
    numbers = stream.bits(0, 120).astype(int).reshape(40, 3)
    places = set()
    for image, result, (a, b, c) in zip(data.train.inputs, out, numbers, strict=True):
        top, left, mirror = a * 9 >> 16, b * 9 >> 16, c >= 32768
        places.add((top, left, mirror))
        assert result.equal(reference_crop(image, top, left, mirror))
    assert len(places) > 30
    assert out.shape == data.train.inputs.shape


def test_normalising_is_by_channel():
    data = make(1)
    x = torch.full((1, 2, 6, 6), 30, dtype=torch.uint8)
    y = data.prepare.judged(x)
    assert y[0, 0].unique().tolist() == [10.0]
    assert y[0, 1].unique().tolist() == [2.5]
    assert torch.cat([y for _, y in evaluation_batches(make(25).test, data, 10)]).tolist() == list(range(25))


@pytest.mark.parametrize(
    ("shape", "on_cpu", "on_gpu"),
    [
        ((64,), 128, 1000),
        ((3, 16, 16), 128, 1000),
        ((3, 32, 32), 65, 1000),
        ((3, 224, 224), 4, 26),
        ((3, 4096, 4096), 1, 1),
    ],
)
def test_as_many_are_judged_at_a_time_as_caches_or_a_gpu_like(shape, on_cpu, on_gpu, monkeypatch):
    data = replace(make(2), input_shape=shape)
    for there, size in ((False, on_cpu), (True, on_gpu)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert evaluation_size(data) == size


def test_bad_input_is_one_clear_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("LEHR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(LehrError, match="no data set 'minst': did you mean 'mnist'"):
        load("minst")
    monkeypatch.setenv("LEHR_DATA", str(tmp_path))
    with pytest.raises(LehrError, match="has no folder mnist"):
        load("mnist")
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train.parquet").write_bytes(b"not parquet")
    with pytest.raises(LehrError, match="the data set mnist cannot be read from .*set LEHR_DATA"):
        load("mnist")
    with pytest.raises(LehrError, match="the batch size is 51 and made has 50"):
        Batches(make(), 51, 0)
    with pytest.raises(LehrError, match="does not divide among 3"):
        Batches(make(), 10, 0, 0, 3)


def write_tiny_mnist(folder: Path) -> None:
    """Twenty random images in the layout of the hub."""
    import datasets
    import numpy as np
    from PIL import Image

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)})
    noise = np.random.default_rng(0)
    for part in ("train", "test"):
        images = [Image.fromarray(noise.integers(0, 256, (28, 28), np.uint8)) for _ in range(20)]
        table = datasets.Dataset.from_dict({"image": images, "label": [i % 10 for i in range(20)]}, features=features)
        table.to_parquet(folder / f"{part}.parquet")


def test_a_damaged_cache_is_made_again(monkeypatch, tmp_path):
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    write_tiny_mnist(tmp_path / "data" / "mnist")
    monkeypatch.setenv("LEHR_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LEHR_CACHE", str(tmp_path / "cache"))
    source = sources["mnist"]
    monkeypatch.setitem(sources._things, "mnist", replace(source, validation=5))
    first = load("mnist")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert load("mnist").test.inputs.equal(first.test.inputs)
    (tmp_path / "data" / "mnist" / "train.parquet").unlink()
    assert load("mnist").train.inputs.equal(first.train.inputs), "the second time comes from the cache"
