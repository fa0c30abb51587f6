"""`load`: a data set by name, from ``LEHR_DATA``, the Hugging Face hub or a path, decoded once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lehr.base.cache import cache_folder
from lehr.base.errors import LehrError, require
from lehr.base.tensors import write_tensors
from lehr.data.dataset import Dataset, Split, Windows, hold_out
from lehr.data.images import Pixels, decode, own_mode, statistics
from lehr.data.sources import Source, find, reading, sources, tables
from lehr.data.text import Tokens, encode_characters, encode_words, word_vocabulary

WORDS = 64  # tokens to which sentences are cut
CONTEXT = 64  # characters that a language model sees at once, unless told otherwise
TEST_SHARE = 0.1  # held out where a data set has no test split of its own


def load(
    name: str,
    limit: int | None = None,
    *,
    image_size: int | None = None,
    augment: bool | None = None,
    context: int | None = None,
) -> Dataset:
    """A data set by name; the same split and statistics for every caller.

    Args:
        name: images: ``digits`` (scans that come with scikit-learn; no download), ``mnist``,
            ``fashion_mnist``, ``cifar10``, ``cifar100``, ``hub:owner/name`` (any image data set of the
            Hugging Face hub), or a folder (of class folders, below ``train`` and ``test`` or not, or of
            parquet files); sentences: ``sst2``; characters: ``tiny_shakespeare``, or a text file.
        limit: use only the first examples of the training set (for a quick look).
        image_size: scale images to this side, in pixels; needed where they have several sizes.
        augment: crop and flip training images; None for what is usual for the data set.
        context: characters in a window, for language modelling.

    Raises:
        LehrError: the name is unknown, the data is neither in ``LEHR_DATA`` nor on the hub, or an
            option does not fit the data.

    >>> data = load("digits")
    >>> len(data.train), len(data.validation), len(data.test), data.input_shape
    (1257, 180, 360, (1, 8, 8))
    """
    source = find(name)
    images = source.kind in ("images", "scans")
    for option, value, fits in (
        ("image_size", image_size, source.kind == "images"),
        ("augment", augment, images),
        ("context", context, source.kind == "characters"),
        ("limit", limit, True),
    ):
        require(value is None or fits, f"{option} is {value} and {name} holds {source.kind}: leave it out")
        require(value is None or isinstance(value, bool) or value >= 1, f"{option} is {value}: give at least 1")
    if source.kind == "characters":
        data = _characters(name, source, context or CONTEXT)
    elif source.kind == "sentences":
        data = _sentences(name, source)
    else:
        data = _images(name, source, image_size, source.augment if augment is None else augment)
    if limit is None:
        return data
    train = data.train
    cut = train.first(limit)
    if isinstance(data.prepare, Pixels) and isinstance(cut, Split):
        mean, std = statistics(cut.inputs)
        return replace(data, train=cut, prepare=Pixels(mean, std, data.prepare.augment))
    return replace(data, train=cut)


# -- images -----------------------------------------------------------------------------------
def _images(name: str, source: Source, size: int | None, augment: bool) -> Dataset:
    if source.kind == "scans":
        tensors = _digits()
    else:
        where = source.location()
        stamp = f"{where} {0 if source.folder else _changed(where)}"
        tensors = _cached(f"{name}-{size or 'own'}", stamp, lambda: _decoded(name, source, where, size))
    classes = int(tensors["classes"])
    parts = {part: Split(tensors[f"{part}_inputs"], tensors[f"{part}_targets"]) for part in _parts(tensors)}
    train, validation, test = _three(parts, source.validation, name)
    mean, std = statistics(train.inputs)
    _, channels, height, width = train.inputs.shape
    return Dataset(
        name, "image-classification", train, validation, test, classes, (channels, height, width),
        Pixels(mean, std, augment),
    )  # fmt: skip


def _digits() -> dict[str, Tensor]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images.astype(np.uint8)).reshape(-1, 1, 8, 8)
    train, test = hold_out(Split(pixels, torch.from_numpy(labels.astype(np.int64))), 360, "digits-test")
    return {
        "train_inputs": train.inputs, "train_targets": train.targets,
        "test_inputs": test.inputs, "test_targets": test.targets, "classes": torch.tensor(10),
    }  # fmt: skip


def _decoded(name: str, source: Source, where: str, size: int | None) -> dict[str, Tensor]:
    import datasets

    found = tables(name, where)
    result: dict[str, Tensor] = {}
    with reading(name, where):
        mode = source.mode or _mode(found)
        for part, table in found.items():
            image, label = _columns(table.features, name)
            raw = table.cast_column(image, datasets.Image(decode=False))[image]
            kept = _part(str(part))
            if kept is None or f"{kept}_inputs" in result:
                continue
            targets = torch.tensor(list(table[label]), dtype=torch.int64)
            if (targets < 0).any():  # the hub hides the labels of some test sets
                continue
            cells = list(raw)
            result[f"{kept}_inputs"] = decode(cells, mode, size, name)
            result[f"{kept}_targets"] = targets
            result["classes"] = torch.tensor(table.features[label].num_classes)
    return result


def _mode(found: Any) -> str:
    """Grey where every image of every part is, colour otherwise."""
    import datasets

    for table in found.values():
        image, _ = _columns(table.features, "the data set")
        if own_mode(table.cast_column(image, datasets.Image(decode=False))[image]) != "L":
            return "RGB"
    return "L"


def _columns(features: Any, name: str) -> tuple[str, str]:
    """The columns with the images and with their labels."""
    import datasets

    images = [column for column, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    labels.sort(key=lambda column: (column not in ("fine_label", "label", "labels"), column))
    if not images or not labels:
        raise LehrError(
            f"{name} has the columns {', '.join(features)}: image classification needs one of images and one of class labels"
        )
    return images[0], labels[0]


# -- text -------------------------------------------------------------------------------------
def _sentences(name: str, source: Source) -> Dataset:
    where = source.location()
    found = tables(name, where)
    with reading(name, where):
        columns = {str(part): (list(table["sentence"]), list(table["label"])) for part, table in found.items()}
    parts = {}
    if "train" not in columns:
        raise LehrError(f"{name} has no part called train ({', '.join(columns)}): it cannot be trained on")
    vocabulary = word_vocabulary(columns["train"][0])
    for part, (sentences, labels) in columns.items():
        targets = torch.tensor(labels, dtype=torch.int64)
        if (targets >= 0).all():  # the hub's copy of the test set hides its labels
            parts[str(_part(part))] = Split(encode_words(sentences, vocabulary, WORDS), targets)
    train, validation, test = _three(parts, source.validation, name)
    classes = int(train.targets.max()) + 1
    return Dataset(
        name, "text-classification", train, validation, test, classes, (WORDS,), Tokens(padded=True),
        len(vocabulary) + 2,
    )  # fmt: skip


def _characters(name: str, source: Source, context: int) -> Dataset:
    where = source.location()
    with reading(name, where):
        if where.startswith("https://"):
            import datasets

            path = Path(datasets.DownloadManager().download(where))
        else:
            path = Path(where)
            path = path / "input.txt" if path.is_dir() else path
        text = path.read_text(encoding="utf-8")
    tokens, alphabet = encode_characters(text)
    # The last tenth as in nanoGPT, half of it for validation and half for the test.
    first, second = int(0.9 * len(tokens)), int(0.95 * len(tokens))
    train, validation, test = (Windows(t, context) for t in (tokens[:first], tokens[first:second], tokens[second:]))
    size = len(alphabet)
    return Dataset(
        name, "language-modelling", train, validation, test, size, (context,), Tokens(padded=False), size
    )  # fmt: skip


# -- parts ------------------------------------------------------------------------------------
def _parts(tensors: dict[str, Tensor]) -> list[str]:
    return [key.removesuffix("_inputs") for key in tensors if key.endswith("_inputs")]


def _part(name: str) -> str | None:
    known = {"train": "train", "validation": "validation", "valid": "validation", "dev": "validation", "test": "test"}
    return known.get(name)


def _three(parts: dict[str, Split], held: int | None, name: str) -> tuple[Split, Split, Split]:
    """Training, validation and test: a missing test set is the validation set, or a tenth, held out.

    What is held out goes by the name of a data set of ours; a user's own may be written in several
    ways, and must not be split otherwise for it.
    """
    if "train" not in parts:
        raise LehrError(
            f"{name} has no part called train ({', '.join(parts) or 'none at all'}): it cannot be trained on"
        )
    key = name if name in sources else "own"
    train, validation, test = parts["train"], parts.get("validation"), parts.get("test")
    if test is None:
        test, validation = validation, None
    if test is None:
        train, test = hold_out(train, _tenth(train, name), f"{key}-test")
    if validation is None:
        train, validation = hold_out(train, _tenth(train, name) if held is None else held, key)
    return train, validation, test


def _tenth(train: Split, name: str) -> int:
    count = min(5000, int(TEST_SHARE * len(train)))
    require(count >= 1, f"{name} has {len(train)} training examples: too few to hold a tenth out for validation")
    return count


# -- the cache --------------------------------------------------------------------------------
def _cached(key: str, where: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Decoded tensors, from our cache where they were decoded before."""
    stamp = hashlib.blake2b(where.encode(), digest_size=6).hexdigest()
    cache = cache_folder() / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', key)[-60:]}-{stamp}.safetensors"
    if cache.is_file():
        try:
            return load_file(cache)
        except (SafetensorError, OSError):
            cache.unlink(missing_ok=True)  # a damaged cache is made again
    tensors = make()
    with suppress(LehrError):  # a cache that cannot be written is only slower
        write_tensors(cache, tensors, {"from": where})
    return tensors


def _changed(where: str) -> int:
    """A number that changes with any file of a folder of the user's, so that a stale cache is not used."""
    folder = Path(where)
    if not folder.is_dir():
        return 0
    lines = []
    for path in sorted(folder.rglob("*")):
        try:
            stat = path.stat()  # of what a link points to: that is what is read
        except OSError:
            stat = path.lstat()  # a link whose target is gone is a file like others
        lines.append(f"{path.relative_to(folder)}\0{stat.st_size}\0{stat.st_mtime_ns}")
    return int(hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest(), 16)
