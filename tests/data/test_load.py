"""Data that users bring: folders of images, parquet files, texts; and options that do not fit."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lehr import LehrError
from lehr.base.draws import Purpose, Stream
from lehr.data import Batches, load
from lehr.data.images import decode
from tests.data.folders import class_folders, parquet, pictures

load_module = import_module("lehr.data.load")  # the package has a function of that name
STREAM = Stream(0, "augment", Purpose.AUGMENT)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """A cache of the test's own."""
    folder = tmp_path_factory.mktemp("cache") / "decoded"
    monkeypatch.setenv("LEHR_CACHE", str(folder))
    return folder


def pixels(path: Path) -> torch.Tensor:
    """A file's bytes as (channels, height, width), read without us."""
    with Image.open(path) as image:
        array = np.array(image)
    return torch.from_numpy(array if array.ndim == 3 else array[:, :, None]).permute(2, 0, 1)


def as_set(split) -> set[tuple[bytes, int]]:
    return {(x.numpy().tobytes(), int(y)) for x, y in zip(split.inputs, split.targets, strict=True)}


# -- folders of class folders -------------------------------------------------------------------------------


def test_a_folder_of_class_folders(tmp_path):
    folder = class_folders(tmp_path / "pets", ("cat", "dog", "emu"))
    data = load(str(folder))
    # A tenth of 30 for the test, a tenth of the 27 left for validation.
    assert (len(data.train), len(data.validation), len(data.test)) == (25, 2, 3)
    assert (data.task, data.num_classes, data.input_shape) == ("image-classification", 3, (3, 6, 8))
    files = {
        (pixels(file).contiguous().numpy().tobytes(), label)
        for label, name in enumerate(("cat", "dog", "emu"))
        for file in (folder / name).iterdir()
    }
    assert as_set(data.train) | as_set(data.validation) | as_set(data.test) == files, (
        "every image once, no pixel altered"
    )
    assert as_set(load(str(folder)).test) == as_set(data.test), "the same split every time"
    numbers = data.train.inputs.double()
    assert data.prepare.mean == pytest.approx(numbers.mean((0, 2, 3)).tolist())
    assert data.prepare.std == pytest.approx(numbers.std((0, 2, 3), correction=0).tolist())


def test_class_folders_below_train_and_test(tmp_path):
    class_folders(tmp_path / "pets" / "train", count=12)
    test = class_folders(tmp_path / "pets" / "test", count=3, seed=7)
    data = load(str(tmp_path / "pets"))
    assert (len(data.train), len(data.validation), len(data.test)) == (22, 2, 6)
    assert data.test.inputs[0].equal(pixels(test / "cat" / "000.png"))
    assert data.test.targets.tolist() == [0, 0, 0, 1, 1, 1]


def test_class_folders_with_a_validation_part(tmp_path):
    for seed, (part, count) in enumerate([("train", 5), ("val", 3), ("test", 4)]):
        class_folders(tmp_path / "pets" / part, count=count, seed=seed)
    data = load(str(tmp_path / "pets"))
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 6, 8)


def test_validation_is_the_test_set_where_there_is_no_other(tmp_path):
    class_folders(tmp_path / "pets" / "train", count=10)
    held = class_folders(tmp_path / "pets" / "validation", count=3, seed=3)
    data = load(str(tmp_path / "pets"))
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 6)
    assert data.test.inputs[0].equal(pixels(held / "cat" / "000.png"))


def test_grey_images_keep_one_channel(tmp_path):
    data = load(str(class_folders(tmp_path / "grey", mode="L")))
    assert data.input_shape == (1, 6, 8)
    assert len(data.prepare.mean) == 1


def test_several_sizes_need_an_image_size(tmp_path):
    folder = class_folders(tmp_path / "pets", ("cat", "dog"))
    class_folders(folder, ("emu",), size=(12, 9))
    with pytest.raises(
        LehrError, match=r"the images of .*pets have several sizes \(8x6, 12x9, \.\.\.\): add --image-size 64"
    ):
        load(str(folder))
    data = load(str(folder), image_size=5)
    assert data.input_shape == (3, 5, 5)
    assert sum(map(len, (data.train, data.validation, data.test))) == 30


def test_an_image_of_that_size_is_left_as_it_is(tmp_path):
    folder = class_folders(tmp_path / "pets", size=(8, 8))
    assert load(str(folder), image_size=8).test.inputs.equal(load(str(folder)).test.inputs)


def test_the_middle_square_is_taken():
    """Twelve columns by four rows, one grey value a column: the middle four columns are left."""
    wide = Image.fromarray(np.arange(0, 240, 20, dtype=np.uint8)[None].repeat(4, 0))
    out = decode([{"bytes": as_png(wide)}], None, 4, "x")
    assert out.shape == (1, 1, 4, 4)
    assert out[0, 0, 0].tolist() == [80, 100, 120, 140]


def as_png(image: Image.Image) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def test_grey_training_images_make_grey_test_images(tmp_path):
    """One network judges all parts, so all have the channels of the first."""
    class_folders(tmp_path / "mixed" / "train", mode="L")
    class_folders(tmp_path / "mixed" / "test", count=3, mode="RGB")
    data = load(str(tmp_path / "mixed"))
    assert data.train.inputs.shape[1:] == data.test.inputs.shape[1:] == data.input_shape


def test_folders_without_enough_in_them(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LehrError, match=r"the data set .*empty cannot be read from .*empty \(EmptyDatasetError"):
        load(str(tmp_path / "empty"))
    class_folders(tmp_path / "judged" / "test")
    with pytest.raises(LehrError, match=r"judged has no part called train \(test\): it cannot be trained on"):
        load(str(tmp_path / "judged"))
    with pytest.raises(LehrError, match="few has 6 training examples: too few to hold a tenth out"):
        load(str(class_folders(tmp_path / "few", count=3)))


# -- parquet ------------------------------------------------------------------------------------------------


def coarse_and_fine(folder: Path, part: str, count: int, fine: list[int] | None = None) -> None:
    """In the layout of CIFAR-100: the column `img`, and two kinds of label."""
    columns = {
        "img": pictures(count, seed=count),
        "coarse_label": [i % 3 for i in range(count)],
        "fine_label": [i % 7 for i in range(count)] if fine is None else fine,
    }
    parquet(folder, part, columns, {"coarse_label": 3, "fine_label": 7}, image="img")


def test_the_fine_label_of_cifar_100_is_taken(tmp_path):
    coarse_and_fine(tmp_path / "c100", "train", 20)
    coarse_and_fine(tmp_path / "c100", "test", 9)
    data = load(str(tmp_path / "c100"))
    assert data.num_classes == 7
    assert data.test.targets.tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert data.input_shape == (3, 6, 8)


def test_columns_that_do_not_make_a_classification_are_named(tmp_path):
    columns = {"image": pictures(4), "caption": ["a", "b", "c", "d"]}
    parquet(tmp_path / "captions", "train", columns, {}, image="image")
    with pytest.raises(LehrError, match="has the columns image, caption: image classification needs one of images and"):
        load(str(tmp_path / "captions"))


def sentences(folder: Path, part: str, labels: list[int]) -> None:
    columns = {"sentence": [f"word{i % 3} good film" for i in range(len(labels))], "label": labels}
    parquet(folder / "sst2", part, columns, {"label": 2})


def test_hidden_test_labels_leave_the_validation_set_as_the_test_set(tmp_path, monkeypatch):
    """The hub's copy of SST-2 has -1 for every test label."""
    monkeypatch.setenv("LEHR_DATA", str(tmp_path))
    sentences(tmp_path, "train", [0, 1] * 10)
    sentences(tmp_path, "validation", [1, 0, 1, 1])
    sentences(tmp_path, "test", [-1] * 5)
    data = load("sst2")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 4)
    assert data.test.targets.tolist() == [1, 0, 1, 1]
    assert data.vocabulary == 2 + 5, "padding, unknown, word0 to word2, good, film"
    assert data.test.inputs[0, :4].tolist() == [data.test.inputs[3, 0], *data.test.inputs[3, 1:3], 0]


def test_hidden_test_labels_of_images_too(tmp_path):
    coarse_and_fine(tmp_path / "hidden", "train", 20)
    coarse_and_fine(tmp_path / "hidden", "validation", 6)
    coarse_and_fine(tmp_path / "hidden", "test", 5, fine=[-1] * 5)
    data = load(str(tmp_path / "hidden"))
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 6)
    assert int(data.test.targets.min()) >= 0


def test_sentences_without_a_training_part_are_refused_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("LEHR_DATA", str(tmp_path))
    sentences(tmp_path, "validation", [0, 1] * 3)
    with pytest.raises(LehrError, match="sst2 has no part called train"):
        load("sst2")


# -- texts --------------------------------------------------------------------------------------------------


def test_a_text_file_of_the_users(tmp_path):
    file = tmp_path / "poem.txt"
    file.write_text("abcé\n" * 800, encoding="utf-8")
    data = load(str(file), context=16)
    assert (data.task, data.vocabulary, data.num_classes) == ("language-modelling", 5, 5)
    assert [len(part.tokens) for part in (data.train, data.validation, data.test)] == [3600, 200, 200]
    assert data.input_shape == (16,)
    assert load(str(file)).input_shape == (64,), "unless told otherwise"
    assert len(load(str(file), 7, context=16).train) == 7


def test_texts_that_cannot_be_used(tmp_path):
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(LehrError, match="tokens is too short for windows of 64"):
        load(str(tmp_path / "short.txt"))
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1") * 4000)
    with pytest.raises(LehrError, match=r"the data set .*latin.txt cannot be read from .*UnicodeDecodeError"):
        load(str(tmp_path / "latin.txt"))


# -- options ------------------------------------------------------------------------------------------------


@pytest.fixture
def poem(tmp_path) -> str:
    (tmp_path / "poem.txt").write_text("abcd\n" * 800)
    return str(tmp_path / "poem.txt")


@pytest.mark.parametrize(
    ("option", "value"), [("image_size", 32), ("augment", True), ("augment", False), ("image_size", 0)]
)
def test_options_of_images_do_not_fit_texts(poem, option, value):
    with pytest.raises(LehrError, match=f"{option} is {value} and .*poem.txt holds characters: leave it out"):
        load(poem, **{option: value})


def test_context_fits_texts_only(poem, tmp_path):
    with pytest.raises(LehrError, match="context is 32 and digits holds scans: leave it out"):
        load("digits", context=32)
    with pytest.raises(LehrError, match="context is 0: give at least 1"):
        load(poem, context=0)
    with pytest.raises(LehrError, match="image_size is 0: give at least 1"):
        load(str(class_folders(tmp_path / "pets", count=1)), image_size=0)


def test_sentences_have_one_length(tmp_path, monkeypatch):
    monkeypatch.setenv("LEHR_DATA", str(tmp_path))
    sentences(tmp_path, "train", [0, 1] * 10)
    for option in ("context", "image_size"):
        with pytest.raises(LehrError, match=f"{option} is 32 and sst2 holds sentences: leave it out"):
            load("sst2", **{option: 32})


def test_an_image_size_is_never_ignored():
    """Digits are scaled to the size asked for, or it is refused; not left at 8x8 without a word."""
    try:
        data = load("digits", image_size=16)
    except LehrError:
        return
    assert data.input_shape == (1, 16, 16)


def test_without_augmentation_training_images_are_those_of_the_file(tmp_path):
    folder = class_folders(tmp_path / "pets")
    plain, usual = load(str(folder), augment=False), load(str(folder))
    assert (plain.prepare.augment, usual.prepare.augment) == (False, True)
    images = plain.train.inputs
    assert plain.prepare.training(images, STREAM, 0).equal(plain.prepare.judged(images))
    assert not usual.prepare.training(images, STREAM, 0).equal(usual.prepare.judged(images))
    seen = {x.numpy().tobytes() for x, _ in Batches(plain, 1, seed=0).epoch(3)}
    assert seen == {plain.prepare.judged(x[None]).numpy().tobytes() for x in images}
    assert load(str(folder), 5, augment=False).prepare.augment is False
    assert load("digits", augment=True).prepare.augment
    assert not load("digits").prepare.augment


def test_a_limit_takes_the_first_and_their_statistics(tmp_path):
    folder = class_folders(tmp_path / "pets")
    whole, few = load(str(folder)), load(str(folder), 4)
    assert few.train.inputs.equal(whole.train.inputs[:4])
    assert few.prepare.mean == pytest.approx(whole.train.inputs[:4].double().mean((0, 2, 3)).tolist())
    assert len(few.test) == len(whole.test)
    assert len(load(str(folder), 10_000).train) == len(whole.train)


# -- the cache ----------------------------------------------------------------------------------------------


def test_decoded_images_are_kept_where_lehr_cache_says(tmp_path, cache, monkeypatch):
    folder = class_folders(tmp_path / "pets")
    first = load(str(folder))
    (kept,) = cache.iterdir()
    before = kept.stat().st_mtime_ns
    monkeypatch.setattr(load_module, "decode", lambda *a: pytest.fail("decoded a second time"))
    assert load(str(folder)).train.inputs.equal(first.train.inputs)
    assert load(str(folder), 3, augment=False).train.inputs.equal(first.train.inputs[:3]), "these need no decoding"
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(pytest.fail.Exception):
        load(str(folder), image_size=7)


def test_without_lehr_cache_it_is_below_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("LEHR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    load(str(class_folders(tmp_path / "pets")))
    assert len(list((tmp_path / "home" / "lehr").glob("*.safetensors"))) == 1


def test_a_cache_that_cannot_be_written_is_only_slower(tmp_path, cache):
    cache.write_text("a file, not a folder")
    assert len(load(str(class_folders(tmp_path / "pets"))).test) == 2


def drawn_anew(file: Path) -> None:
    pictures(1, seed=99)[0].save(file)


def added(file: Path) -> None:
    pictures(1, seed=99)[0].save(file.with_name("new.png"))


def taken_away(file: Path) -> None:
    file.unlink()


def moved_to_another_class(file: Path) -> None:
    file.rename(file.parents[1] / "dog" / "moved.png")


def replaced_by_an_older_one(file: Path) -> None:
    """As copying with the dates kept does it."""
    pictures(1, seed=99)[0].save(file)
    os.utime(file, (1_000_000_000, 1_000_000_000))


@pytest.mark.parametrize("change", [drawn_anew, added, taken_away, moved_to_another_class, replaced_by_an_older_one])
def test_a_changed_folder_is_decoded_anew(tmp_path, change):
    folder = class_folders(tmp_path / "pets")

    def everything() -> set:
        data = load(str(folder))
        return as_set(data.train) | as_set(data.validation) | as_set(data.test)

    before = everything()
    change(folder / "cat" / "003.png")
    after = everything()
    files = {
        (pixels(file).contiguous().numpy().tobytes(), label)
        for label, name in enumerate(("cat", "dog"))
        for file in (folder / name).iterdir()
    }
    assert after == files != before


def test_what_a_link_points_to_is_decoded_anew_where_it_changes(tmp_path):
    folder = class_folders(tmp_path / "pets")
    file = folder / "cat" / "003.png"
    file.rename(tmp_path / "elsewhere.png")
    file.symlink_to(tmp_path / "elsewhere.png")
    load(str(folder))
    drawn_anew(file)
    data = load(str(folder))
    assert (pixels(file).contiguous().numpy().tobytes(), 0) in as_set(data.train) | as_set(data.validation) | as_set(
        data.test
    )


def test_a_class_that_is_a_link_is_not_left_out_in_silence(tmp_path):
    folder = class_folders(tmp_path / "pets", ("ape", "cat", "dog"))
    (folder / "cat").rename(tmp_path / "elsewhere")
    (folder / "cat").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LehrError, match="cat is a link to a folder"):
        load(str(folder))


def test_a_link_to_what_is_gone_is_no_trouble_where_it_is_no_image(tmp_path):
    folder = class_folders(tmp_path / "pets")
    (folder / "notes.txt").symlink_to(tmp_path / "gone")
    assert len(load(str(folder)).test)


def test_the_split_does_not_depend_on_how_a_path_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("LEHR_CACHE", str(tmp_path / "cache"))
    from PIL import Image

    for kind in ("a", "b"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(20):
            Image.new("RGB", (4, 4), (i, 10 if kind == "a" else 200, 0)).save(
                tmp_path / "photos" / kind / f"{i:02}.png"
            )
    monkeypatch.chdir(tmp_path)
    one, two, three = (load(path) for path in ("photos", "photos/", str(tmp_path / "photos")))
    assert one.test.inputs.equal(two.test.inputs)
    assert one.test.inputs.equal(three.test.inputs)
    assert one.validation.inputs.equal(three.validation.inputs)


def test_colour_wins_where_one_image_is_grey_and_sixteen_bits_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LEHR_CACHE", str(tmp_path / "cache"))
    from PIL import Image

    for kind in ("a", "b"):
        (tmp_path / "mixed" / kind).mkdir(parents=True)
        for i in range(20):
            mode = "L" if (kind, i) == ("a", 0) else "RGB"
            Image.new(mode, (4, 4)).save(tmp_path / "mixed" / kind / f"{i:02}.png")
    assert load(str(tmp_path / "mixed")).input_shape == (3, 4, 4)
    Image.new("I;16", (4, 4)).save(tmp_path / "mixed" / "b" / "05.png")
    with pytest.raises(LehrError, match="more than 8 bits a channel"):
        load(str(tmp_path / "mixed"))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_at_least_one(limit):
    with pytest.raises(LehrError, match=f"limit is {limit}: give at least 1"):
        load("digits", limit=limit)
