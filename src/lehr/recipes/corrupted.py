"""Scores on corrupted images, of whatever gives predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from lehr.analysis.corruptions import DEVIATIONS, PUBLISHED, SEVERITIES, corrupt, corruptions, load_published
from lehr.analysis.quality import Quality, mean_quality
from lehr.base.errors import LehrError, require
from lehr.data import Dataset, Examples, Split
from lehr.recipes.network import JudgeSettings
from lehr.training.progress import Bar

CORRUPTED_BATCH = 500
Batches = Iterator[tuple[Tensor, Tensor]]


class CorruptedSettings(JudgeSettings):
    """On what images a finished network is judged; `seed` is of the corruptions."""

    examples: int | None = Field(default=None, ge=1)  # the first so many, for a quick look
    corrupted: bool = False
    corruptions: tuple[str, ...] = ()  # all published ones where none is named
    severities: tuple[int, ...] = SEVERITIES
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


def corrupted_scores(
    judged: Callable[[Batches], list[Quality]], data: Dataset, examples: Examples, settings: CorruptedSettings, bar: Bar
) -> list[dict[str, Any]]:
    """For each thing that is judged: scores by corruption, the mean over its severities, and the mean over all.

    Args:
        judged: from batches to the scores of as many things as there are.
        data, examples: the images.
        settings: which corruptions.
        bar: shows how far it is.

    Raises:
        LehrError: the data holds text, or published images do not fit.
    """
    if data.task != "image-classification":
        raise LehrError(f"{data.name} holds text: corruptions are for images, leave --corrupted out")
    names = settings.named()
    found: list[dict[str, list[Quality]]] = []
    count = 0
    for name in names:
        for severity in settings.severities:
            make = _published(settings, name, severity) if settings.corrupted_data else _generated(
                examples, name, severity, settings.seed
            )  # fmt: skip
            try:
                scores = judged(_prepared(make, data))
            except (RuntimeError, IndexError, ValueError) as error:
                if isinstance(error, LehrError):
                    raise
                raise LehrError(
                    f"the corrupted images do not fit {data.name} ({str(error).splitlines()[0]}): CIFAR-10-C is for "
                    "networks of CIFAR-10"
                ) from None
            found = found or [{} for _ in scores]
            for own, one in zip(found, scores, strict=True):
                own.setdefault(name, []).append(one)
            count += 1
            bar.update(count, name)
    return [_told(own, settings, names) for own in found]


def _told(found: dict[str, list[Quality]], settings: CorruptedSettings, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "source": settings.corrupted_data or "generated",
        "severities": list(settings.severities),
        "mean": mean_quality(part for parts in found.values() for part in parts).as_dict(),
        "corruptions": {name: mean_quality(parts).as_dict() for name, parts in found.items()},
        "by_severity": {name: [part.as_dict() for part in parts] for name, parts in found.items()},
        "deviations": {} if settings.corrupted_data else {n: DEVIATIONS[n] for n in names if n in DEVIATIONS},
    }


def _generated(examples: Examples, name: str, severity: int, seed: int) -> Callable[[], Iterator[Split]]:
    def parts() -> Iterator[Split]:
        for first in range(0, len(examples), CORRUPTED_BATCH):
            part = examples.take(torch.arange(first, min(first + CORRUPTED_BATCH, len(examples))))
            yield Split(corrupt(part.inputs, name, severity, seed=seed, start=first), part.targets)

    return parts


def _published(settings: CorruptedSettings, name: str, severity: int) -> Callable[[], Iterator[Split]]:
    def parts() -> Iterator[Split]:
        folder = Path(settings.corrupted_data or "")
        images, labels = load_published(folder, name, severity, settings.examples)
        for first in range(0, len(images), CORRUPTED_BATCH):
            yield Split(images[first : first + CORRUPTED_BATCH], labels[first : first + CORRUPTED_BATCH])

    return parts


def _prepared(make: Callable[[], Iterator[Split]], data: Dataset) -> Batches:
    for part in make():
        yield data.prepare.judged(part.inputs), part.targets
