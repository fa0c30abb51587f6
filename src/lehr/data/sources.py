"""Where data comes from: a folder below ``LEHR_DATA``, the Hugging Face hub, or a path of the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError, one_line, require, unknown
from lehr.base.registry import Registry


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: a folder below ``LEHR_DATA``, or a repository of the hub."""

    folder: str
    hub: str
    kind: str  # images, sentences, characters or scans
    mode: str | None = None  # Pillow's: L is grey, RGB is colour, None is grey where all images are
    validation: int | None = None  # examples held out of the training set; None for its own, or a tenth
    augment: bool = False

    def location(self) -> str:
        """A path, or a name that `datasets.load_dataset` finds on the hub.

        >>> Source("", "owner/name", "images").location()
        'owner/name'
        """
        folder = os.environ.get("LEHR_DATA")
        if folder is None or not self.folder:
            return self.hub
        path = Path(folder) / self.folder
        if not path.is_dir():
            raise LehrError(
                f"LEHR_DATA is {folder} and has no folder {self.folder}: correct it, or unset it to use the hub"
            )
        return str(path.resolve())


sources: Registry[Source] = Registry("data set")
sources.add("digits", Source("", "", "scans", "L", 180))
sources.add("mnist", Source("mnist", "ylecun/mnist", "images", "L", 5000))
sources.add("fashion_mnist", Source("fashion_mnist", "zalando-datasets/fashion_mnist", "images", "L", 5000))
sources.add("cifar10", Source("cifar10", "uoft-cs/cifar10", "images", "RGB", 5000, augment=True))
sources.add("cifar100", Source("cifar100", "uoft-cs/cifar100", "images", "RGB", 5000, augment=True))
sources.add("sst2", Source("sst2", "stanfordnlp/sst2", "sentences"))
sources.add(
    "tiny_shakespeare",
    Source(
        "tinyshakespeare",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "characters",
    ),
)


def find(name: str) -> Source:
    """The source that a user means: a name of ours, ``hub:owner/name``, a folder of images, or a text file.

    >>> find("hub:owner/name").hub
    'owner/name'
    """
    if name.startswith("hub:"):
        return Source("", name.removeprefix("hub:"), "images", augment=True)
    if not name:
        raise unknown("data set", name, sources)
    path = Path(name)
    if name in sources:
        return sources[name]
    if path.suffix == ".txt" or path.is_file():
        if not path.is_file():
            raise LehrError(f"there is no text file {name}: correct the path")
        return Source("", str(path.resolve()), "characters")
    if path.is_dir():
        return Source("", str(path.resolve()), "images", augment=True)
    if "/" in name:
        raise LehrError(f"there is no folder or file {name}: correct the path, or write hub:{name} for the hub")
    return sources[name]


def tables(name: str, location: str) -> Any:
    """The tables of a data set by part, undecoded; a folder of class folders is read as images."""
    import datasets

    folder = Path(location)
    with reading(name, location):
        if folder.is_dir() and not any(folder.rglob("*.parquet")) and not any(folder.rglob("*.arrow")):
            for inside in folder.rglob("*"):
                require(
                    not (inside.is_symlink() and inside.is_dir()),
                    f"{inside} is a link to a folder, which the reader of {name} does not follow: give the folder itself",
                )
            return datasets.load_dataset("imagefolder", data_dir=location)
        return datasets.load_dataset(location)


@contextmanager
def reading(name: str, location: str) -> Iterator[None]:
    """Turn what a library raises into one sentence, and keep its progress bars away."""
    import datasets

    bars = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    except LehrError:
        raise
    except Exception as error:  # the library and the network raise many kinds
        reason = one_line(error, named=True)
        if name in sources:
            remedy = "set LEHR_DATA to a folder that holds it"
        else:
            remedy = "correct its files" if Path(location).exists() else "check the name and the connection"
        raise LehrError(f"the data set {name} cannot be read from {location} ({reason}): {remedy}") from error
    finally:
        if bars:
            datasets.enable_progress_bars()
