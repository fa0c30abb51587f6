"""`train`: a dense network, from its initialisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lehr import data as datasets
from lehr import models
from lehr.base.errors import Diverged, LehrError
from lehr.data import Dataset
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
    check_fits(model, data, settings.model)
    batches = len(datasets.Batches(data, settings.batch_size, settings.seed))
    with folder.locked():
        folder.begin(settings, resume=resume)
        if folder.done:
            return ended_well(folder)
        with bar(f"training {settings.model}", settings.epochs * batches, show=show) as line:
            outcome = fit(model, data, settings, folder, bar=line)
        size = sum(p.numel() for p in model.parameters())
        result = scores_of(outcome) | {"parameters": size, "nonzeros": size}
        folder.finish(model.state_dict(), result, {"seconds": outcome.seconds})
    return folder.result()


def ended_well(folder: RunFolder) -> dict[str, Any]:
    """The result of a run that is done, or the reason why it failed."""
    result = folder.result()
    if "failed" in result:
        raise Diverged(result["failed"])
    return result


def check_fits(model: nn.Module, data: Dataset, name: str) -> None:
    """Raise unless the network takes the data's images and gives a number for each class."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            out = model(torch.zeros(2, *data.input_shape))
    except Exception as error:  # the user's own code may raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LehrError(
            f"{name} does not take images of shape {data.input_shape} ({reason}): adapt the network"
        ) from error
    finally:
        model.train(training)
    if not isinstance(out, torch.Tensor) or out.shape != (2, data.num_classes):
        shape = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise LehrError(f"{name} gives {shape} for 2 images: it must give logits of shape (2, {data.num_classes})")


def scores_of(outcome: Outcome) -> dict[str, Any]:
    """The scores of a finished run as plain values."""
    return {"validation": outcome.validation.as_dict(), "test": outcome.test.as_dict()}
