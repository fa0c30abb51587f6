"""`evaluate`: what a finished network is worth, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from lehr.analysis.cost import cost
from lehr.analysis.quality import Quality, predictions, quality
from lehr.base.errors import LehrError
from lehr.data import Examples, evaluation_batches
from lehr.recipes.corrupted import CorruptedSettings, corrupted_scores
from lehr.recipes.ending import nonzeros
from lehr.recipes.network import open_network
from lehr.training import together
from lehr.training.layout import input_layout
from lehr.training.progress import SILENT, Bar


class EvaluateSettings(CorruptedSettings):
    """What is evaluated, and on what."""

    split: Literal["validation", "test"] = "test"


def evaluate(settings: EvaluateSettings, *, bar: Bar = SILENT) -> dict[str, Any]:
    """Scores, sparsity by layer and FLOPs of a network; with `corrupted` also on corrupted images. Asked on the GPU where there is one.

    Raises `LehrError` where the network, its data or the corrupted files do not fit together.
    """
    settings.check()
    if settings.corrupted_data and settings.split != "test":
        raise LehrError("the published corrupted images are those of the test set: leave --split out")
    network = open_network(settings)
    model, data = network.model, network.data
    examples: Examples = getattr(data, settings.split)
    if settings.examples is not None:
        examples = examples.first(settings.examples)
    price, left = cost(model, data.blank(1), network.mask), nonzeros(model)
    place = together.state().device
    layout = input_layout(model.to(place), data.blank(2).to(place))
    judged = partial(_quality, model, device=place, layout=layout)
    clean = judged(evaluation_batches(examples, data))
    result: dict[str, Any] = {
        "run": settings.run,
        "task": data.task,
        "split": settings.split,
        **clean.as_dict(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "nonzeros": left,
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
    if settings.asked:
        result["corrupted"] = corrupted_scores(judged, data, examples, settings, bar)
    return result


def _quality(model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], **where: Any) -> Quality:
    return quality(*predictions(model, batches, **where))
