"""Scores on corrupted images, of whatever gives predictions; and the images themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from lehr.analysis.corruptions import DEVIATIONS, PUBLISHED, SEVERITIES, corrupt, corruptions, load_published
from lehr.analysis.quality import Quality, mean_quality
from lehr.base.errors import LehrError, one_line, require
from lehr.data import Dataset, Examples, Split, evaluation_batches
from lehr.recipes.network import JudgeSettings
from lehr.training.progress import Bar

CORRUPTED_BATCH = 500
Batches = Iterator[tuple[Tensor, Tensor]]


class CorruptedSettings(JudgeSettings):
    """On what images a finished network is judged; `seed` is of the corruptions."""

    examples: int | None = Field(default=None, ge=1)  # the first so many, for a quick look
    corrupted: bool = False
    corruptions: tuple[str, ...] = ()  # all published ones where none is named
    severities: tuple[int, ...] = Field(default=SEVERITIES, min_length=1)
    corrupted_data: str | None = None  # a folder with the published files

    def check(self) -> None:
        """Raise where there is no such corruption or severity."""
        for name in self.corruptions:
            corruptions[name]  # raises with the nearest name
        for severity in self.severities:
            require(severity in SEVERITIES, f"severity is {severity}: give numbers from 1 to 5")

    @property
    def asked(self) -> bool:
        """Whether corrupted images are wanted."""
        return self.corrupted or self.corrupted_data is not None

    def named(self) -> tuple[str, ...]:
        """The corruptions."""
        return self.corruptions or PUBLISHED

    def sets(self) -> list[tuple[str, int]]:
        """Every corruption at every severity."""
        return [(name, severity) for name in self.named() for severity in self.severities]


def corrupted_scores(
    judged: Callable[[Batches], Quality], data: Dataset, examples: Examples, settings: CorruptedSettings, bar: Bar
) -> dict[str, Any]:
    """Scores by corruption, the mean over its severities, and the mean over all.

    Args:
        judged: from batches to scores.
        data, examples: the images.
        settings: which corruptions.
        bar: shows how far it is.

    Raises:
        LehrError: the data holds text, or published images do not fit.
    """
    check_images(data)
    found: dict[str, list[Quality]] = {}
    for count, (name, severity) in enumerate(settings.sets(), 1):
        with fitting(data):
            batches = prepared(corrupted_images(examples, settings, name, severity), data)
            found.setdefault(name, []).append(judged(batches))
        bar.update(count, name)
    return told(found, settings)


def told(found: Mapping[str, list[Quality]], settings: CorruptedSettings) -> dict[str, Any]:
    """Scores by corruption and severity, as results have them, with the means."""
    return {
        "source": settings.corrupted_data or "generated",
        "severities": list(settings.severities),
        "mean": mean_quality(part for parts in found.values() for part in parts).as_dict(),
        "corruptions": {name: mean_quality(parts).as_dict() for name, parts in found.items()},
        "by_severity": {name: [part.as_dict() for part in parts] for name, parts in found.items()},
        "deviations": {}
        if settings.corrupted_data
        else {n: DEVIATIONS[n] for n in settings.named() if n in DEVIATIONS},
    }


def check_images(data: Dataset) -> None:
    """Raise where the data holds no images."""
    if data.task != "image-classification":
        raise LehrError(f"{data.name} holds text: corruptions are for images, leave --corrupted out")


@contextmanager
def fitting(data: Dataset) -> Iterator[None]:
    """What goes wrong inside is told as images that do not fit a network."""
    try:
        yield
    except (RuntimeError, IndexError, ValueError) as error:
        if isinstance(error, LehrError):
            raise
        raise LehrError(
            f"the corrupted images do not fit {data.name} ({one_line(error)}): CIFAR-10-C is for networks of CIFAR-10"
        ) from None


def corrupted_images(examples: Examples, settings: CorruptedSettings, name: str, severity: int) -> Iterator[Split]:
    """The images of one corruption and severity, uint8 of shape (n, C, H, W), in parts; generated, or read from published files."""
    if settings.corrupted_data is None:
        for first in range(0, len(examples), CORRUPTED_BATCH):
            part = examples.take(torch.arange(first, min(first + CORRUPTED_BATCH, len(examples))))
            yield Split(corrupt(part.inputs, name, severity, seed=settings.seed, start=first), part.targets)
        return
    images, labels = load_published(Path(settings.corrupted_data), name, severity, settings.examples)
    for first in range(0, len(images), CORRUPTED_BATCH):
        yield Split(images[first : first + CORRUPTED_BATCH], labels[first : first + CORRUPTED_BATCH])


def prepared(parts: Iterable[Split], data: Dataset) -> Batches:
    """The images as networks take them, with their targets."""
    for part in parts:
        yield from evaluation_batches(part, data)
