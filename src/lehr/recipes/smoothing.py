"""What settings smooth after pruning, for which part of the tuning."""

from __future__ import annotations

from torch import nn

from lehr.base.errors import require
from lehr.base.steps import parse_length
from lehr.data import Dataset
from lehr.runs import TuneSettings
from lehr.smoothing import Smoothing
from lehr.training.span import steps_per_epoch, total_steps


def build_smoothing(settings: TuneSettings, model: nn.Module, data: Dataset) -> Smoothing | None:
    """What is smoothed, checked to be in the network; None where nothing is.

    A setting of it that is not at its default is refused where its part is not smoothed.
    """
    for field, part in (
        ("label_smoothing", "labels"),
        ("softness", "activations"),
        ("skip", "skips"),
        ("smooth_for", ""),
    ):
        value = getattr(settings, field)
        used = part in settings.smooth or (settings.smooth and not part)
        require(
            bool(used) or value == TuneSettings.model_fields[field].default,
            f"{field} is {value} and {part or 'nothing'} is {'not ' if part else ''}smoothed: give smooth, or leave it out",
        )
    if not settings.smooth:
        return None
    total = total_steps(settings, data)
    steps = parse_length(settings.smooth_for, steps_per_epoch=steps_per_epoch(settings, data), total=total)
    require(steps <= total, f"smoothing for {settings.smooth_for} is {steps} steps and the run has {total}: shorten it")
    smoothing = Smoothing(
        steps, settings.smooth, labels=settings.label_smoothing, softness=settings.softness, skip=settings.skip
    )
    smoothing.check(model, data.blank(2))
    return smoothing
