"""`train`: a dense network, from its initialisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lehr import data as datasets
from lehr import models
from lehr.runs import RunFolder, TrainSettings
from lehr.training import Outcome, fit
from lehr.training.progress import bar


def train(settings: TrainSettings, out: str | Path, *, resume: bool = False, show: bool = False) -> dict[str, Any]:
    """Train into a run folder and return its result; with `resume` go on where the folder stopped.

    Raises `LehrError` for bad input, `Interrupted` when asked to stop (the state is saved).
    """
    settings = settings.settled(torch.get_num_threads())
    folder = RunFolder(out)
    data = datasets.load(settings.data, settings.limit)
    torch.manual_seed(settings.seed)
    model = models.create(settings.model, data.num_classes, data.input_shape)
    batches = len(datasets.Batches(data, settings.batch_size, settings.seed))
    with folder.locked():
        folder.begin(settings, resume=resume)
        if folder.done:
            return folder.result()
        with bar(f"training {settings.model}", settings.epochs * batches, show=show) as line:
            outcome = fit(model, data, settings, folder, bar=line)
        size = sum(p.numel() for p in model.parameters())
        result = scores_of(outcome) | {"parameters": size, "nonzeros": size}
        folder.finish(model.state_dict(), result, {"seconds": outcome.seconds})
    return folder.result()


def scores_of(outcome: Outcome) -> dict[str, Any]:
    """The scores of a finished run as plain values."""
    return {"validation": outcome.validation.as_dict(), "test": outcome.test.as_dict()}
