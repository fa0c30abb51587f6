"""`evaluate`: what a finished network is worth, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lehr.analysis.corruptions import DEVIATIONS, PUBLISHED, SEVERITIES, corrupt, corruptions, load_published
from lehr.analysis.cost import cost
from lehr.analysis.quality import Quality, mean_quality, predictions, quality
from lehr.base.errors import LehrError, require
from lehr.data import Dataset, Examples, Split, evaluation_batches
from lehr.recipes.network import JudgeSettings, open_network
from lehr.training.progress import SILENT, Bar

CORRUPTED_BATCH = 500


class EvaluateSettings(JudgeSettings):
    """What is evaluated, and on what; `seed` is of the corruptions."""

    split: Literal["validation", "test"] = "test"
    examples: int | None = Field(default=None, ge=1)  # the first so many, for a quick look
    corrupted: bool = False
    corruptions: tuple[str, ...] = ()  # all published ones where none is named
    severities: tuple[int, ...] = SEVERITIES
    corrupted_data: str | None = None  # a folder with the published files


def evaluate(settings: EvaluateSettings, *, bar: Bar = SILENT) -> dict[str, Any]:
    """Scores, sparsity by layer and FLOPs of a network; with `corrupted` also on corrupted images.

    Raises `LehrError` where the network, its data or the corrupted files do not fit together.
    """
    for name in settings.corruptions:
        corruptions[name]  # raises with the nearest name
    for severity in settings.severities:
        require(severity in SEVERITIES, f"severity is {severity}: give numbers from 1 to 5")
    if settings.corrupted_data and settings.split != "test":
        raise LehrError("the published corrupted images are those of the test set: leave --split out")
    network = open_network(settings)
    model, data = network.model, network.data
    examples: Examples = getattr(data, settings.split)
    if settings.examples is not None:
        examples = examples.take(torch.arange(min(settings.examples, len(examples))))
    clean = _quality(model, evaluation_batches(examples, data))
    price = cost(model, data.blank(1), network.mask)
    result: dict[str, Any] = {
        "run": settings.run,
        "task": data.task,
        "split": settings.split,
        **clean.as_dict(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "nonzeros": sum(int((p != 0).sum()) for p in model.parameters()),
        "flops": price.dense,
        "kept_flops": price.kept,
        "granularity": None if network.mask is None else network.mask.granularity,
        "layers": [
            {"name": row.name, "shape": list(row.shape), "kept": row.kept, "size": row.size, "flops": layer.flops}
            for row, layer in zip(network.mask.layers() if network.mask else [], price.layers, strict=True)
        ],
    }
    if data.task == "language-modelling":
        result["bits_per_character"] = clean.nll / math.log(2)
    if settings.corrupted or settings.corrupted_data:
        result["corrupted"] = _corrupted(model, data, examples, settings, bar)
    return result


def _quality(model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> Quality:
    return quality(*predictions(model, batches))


def _corrupted(
    model: nn.Module, data: Dataset, examples: Examples, settings: EvaluateSettings, bar: Bar
) -> dict[str, Any]:
    """Scores for each corruption, the mean over its severities, and the mean over all."""
    if data.task != "image-classification":
        raise LehrError(f"{data.name} holds text: corruptions are for images, leave --corrupted out")
    names = settings.corruptions or PUBLISHED
    found: dict[str, list[Quality]] = {}
    for name in names:
        for severity in settings.severities:
            make = _published(settings, name, severity) if settings.corrupted_data else _generated(
                examples, name, severity, settings.seed
            )  # fmt: skip
            try:
                scores = _quality(model, _prepared(make, data))
            except (RuntimeError, IndexError, ValueError) as error:
                if isinstance(error, LehrError):
                    raise
                raise LehrError(
                    f"the corrupted images do not fit {data.name} ({str(error).splitlines()[0]}): CIFAR-10-C is for "
                    "networks of CIFAR-10"
                ) from None
            found.setdefault(name, []).append(scores)
            bar.update(sum(map(len, found.values())), name)
    rows = {name: mean_quality(parts).as_dict() for name, parts in found.items()}
    return {
        "source": settings.corrupted_data or "generated",
        "severities": list(settings.severities),
        "mean": mean_quality(part for parts in found.values() for part in parts).as_dict(),
        "corruptions": rows,
        "by_severity": {name: [part.as_dict() for part in parts] for name, parts in found.items()},
        "deviations": {} if settings.corrupted_data else {n: DEVIATIONS[n] for n in names if n in DEVIATIONS},
    }


def _generated(examples: Examples, name: str, severity: int, seed: int) -> Callable[[], Iterator[Split]]:
    def parts() -> Iterator[Split]:
        for first in range(0, len(examples), CORRUPTED_BATCH):
            part = examples.take(torch.arange(first, min(first + CORRUPTED_BATCH, len(examples))))
            yield Split(corrupt(part.inputs, name, severity, seed=seed, start=first), part.targets)

    return parts


def _published(settings: EvaluateSettings, name: str, severity: int) -> Callable[[], Iterator[Split]]:
    def parts() -> Iterator[Split]:
        folder = Path(settings.corrupted_data or "")
        images, labels = load_published(folder, name, severity, settings.examples)
        for first in range(0, len(images), CORRUPTED_BATCH):
            yield Split(images[first : first + CORRUPTED_BATCH], labels[first : first + CORRUPTED_BATCH])

    return parts


def _prepared(make: Callable[[], Iterator[Split]], data: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
    for part in make():
        yield data.prepare.judged(part.inputs), part.targets
