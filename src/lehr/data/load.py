"""`load`: a data set by name, from ``LEHR_DATA`` or the Hugging Face hub, decoded once."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lehr.base.errors import LehrError
from lehr.base.files import write_tensors
from lehr.base.registry import Registry
from lehr.data.dataset import Dataset, Split, hold_out, statistics


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: a folder below ``LEHR_DATA``, or a repository of the hub."""

    folder: str
    hub: str
    mode: str  # Pillow's: L is grey, RGB is colour
    num_classes: int
    validation: int  # examples held out of the training set
    augment: bool


sources: Registry[Source | None] = Registry("data set")
sources.add("digits", None)
sources.add("mnist", Source("mnist", "ylecun/mnist", "L", 10, 5000, augment=False))
sources.add("fashion_mnist", Source("fashion_mnist", "zalando-datasets/fashion_mnist", "L", 10, 5000, augment=False))
sources.add("cifar10", Source("cifar10", "uoft-cs/cifar10", "RGB", 10, 5000, augment=True))


def load(name: str, limit: int | None = None) -> Dataset:
    """A data set by name; the same split and statistics for every caller.

    Args:
        name: ``digits`` (scans that come with scikit-learn; no download), ``mnist``,
            ``fashion_mnist`` or ``cifar10``.
        limit: use only the first examples of the training set (for a quick look).

    Raises:
        LehrError: the name is unknown, or the data is neither in ``LEHR_DATA`` nor on the hub.

    >>> data = load("digits")
    >>> len(data.train), len(data.validation), len(data.test), data.input_shape
    (1257, 180, 360, (1, 8, 8))
    """
    source = sources[name]
    train, test, held, classes, augment = _digits() if source is None else _images(name, source)
    train, validation = hold_out(train, held, name)
    if limit is not None:
        train = train.take(torch.arange(min(limit, len(train))))
    mean, std = statistics(train.images)
    return Dataset(name, train, validation, test, classes, mean, std, augment)


def _digits() -> tuple[Split, Split, int, int, bool]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images.astype(np.uint8)).reshape(-1, 1, 8, 8)
    train, test = hold_out(Split(pixels, torch.from_numpy(labels.astype(np.int64))), 360, "digits-test")
    return train, test, 180, 10, False


def _images(name: str, source: Source) -> tuple[Split, Split, int, int, bool]:
    tensors = _decoded(name, source)
    train, test = (Split(tensors[f"{part}_images"], tensors[f"{part}_labels"]) for part in ("train", "test"))
    return train, test, source.validation, source.num_classes, source.augment


def _decoded(name: str, source: Source) -> dict[str, Tensor]:
    """The decoded tensors, from our cache where they were decoded before."""
    where = _location(source)
    cache = _cache_folder() / f"{name}-{hashlib.blake2b(where.encode(), digest_size=6).hexdigest()}.safetensors"
    if cache.is_file():
        try:
            return load_file(cache)
        except (SafetensorError, OSError):
            cache.unlink(missing_ok=True)  # a damaged cache is made again
    tensors = _decode(name, source, where)
    with suppress(LehrError):  # a cache that cannot be written is only slower
        write_tensors(cache, tensors, {"from": where})
    return tensors


def _location(source: Source) -> str:
    folder = os.environ.get("LEHR_DATA")
    if folder is None:
        return source.hub
    path = Path(folder) / source.folder
    if not path.is_dir():
        raise LehrError(
            f"LEHR_DATA is {folder} and has no folder {source.folder}: correct it, or unset it to use the hub"
        )
    return str(path.resolve())


def _decode(name: str, source: Source, where: str) -> dict[str, Tensor]:
    import datasets

    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        tables = datasets.load_dataset(where)
        result: dict[str, Tensor] = {}
        for part in ("train", "test"):
            table = tables[part]
            column = "image" if "image" in table.column_names else "img"
            raw = table.cast_column(column, datasets.Image(decode=False))[column]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                pixels = list(pool.map(lambda cell: _pixels(cell, source.mode), raw))
            images = torch.from_numpy(np.stack(pixels))
            result[f"{part}_images"] = (
                images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
            ).contiguous()
            result[f"{part}_labels"] = torch.tensor(list(table["label"]), dtype=torch.int64)
    except Exception as error:  # the library and the network raise many kinds
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        raise LehrError(
            f"the data set {name} cannot be read from {where} ({reason}): set LEHR_DATA to a folder that holds it"
        ) from error
    finally:
        if bars:
            datasets.enable_progress_bars()
    return result


def _pixels(cell: dict[str, bytes], mode: str) -> np.ndarray:
    from PIL import Image

    with Image.open(BytesIO(cell["bytes"])) as image:
        return np.asarray(image.convert(mode))


def _cache_folder() -> Path:
    base = os.environ.get("LEHR_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lehr" if "LEHR_CACHE" not in os.environ else Path(base)
