"""What cannot work is refused before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lehr.base.errors import LehrError, require
from lehr.base.steps import spelled
from lehr.data import Dataset
from lehr.masks import Mask, select
from lehr.models.initialise import initialisations
from lehr.recipes.choice import LEARNED, SELECTION, choose, score_data
from lehr.recipes.fresh import fresh_model
from lehr.recipes.method import DENSE, annealing_steps, build_method
from lehr.recipes.parent import DATA, load_data
from lehr.recipes.smoothing import build_smoothing
from lehr.recipes.ticket import check_steps
from lehr.recipes.train import mask_learning
from lehr.runs import ChildSettings, Settings, TicketSettings, TrainSettings, TuneSettings
from lehr.study.definition import Run
from lehr.training.averaging import check_average, check_batch_norm
from lehr.training.span import span, steps_per_epoch, total_steps

LENGTH = ("epochs", "batch_size", "accumulate")  # what a step of the schedule goes by, beside the data


def check(runs: Sequence[Run]) -> None:
    """Raise where a run of the study could not begin: data, network, mask, method, lengths.

    Masks are chosen on weights as they are initialised, so what the shapes refuse is refused now; what only the trained
    weights refuse (a layer that would be empty) is recorded when it happens.
    """
    seen: set[str] = set()
    steps: dict[tuple[str, int], str] = {}
    by_name = {run.name: run for run in runs}
    opened: dict[str, tuple[Dataset, torch.nn.Module]] = {}
    for run in runs:
        settings = run.settings
        parent = by_name[run.parent].settings if run.parent is not None else None
        if getattr(settings, "score", None) == LEARNED and not getattr(parent, "learn_mask", 0.0):
            raise LehrError("score is learned-mask and the run that it starts from learns none: give learn_mask")
        if isinstance(settings, TicketSettings) and isinstance(parent, TrainSettings) and parent.learn_mask:
            raise LehrError("learn_mask is given, and a ticket begins with a plain dense run: leave it out")
        key = settings.model_dump_json(exclude={"seed", "parent", "parent_digest", "lr"})
        if key in seen:
            continue
        seen.add(key)
        place = settings.model_dump_json(include=set(DATA))
        if place not in opened:
            data = load_data(settings)
            opened[place] = (data, fresh_model(settings.model, data, 0))
        if isinstance(settings, TicketSettings):
            step = span(settings, opened[place][0])[0]
            start = spelled(settings.start)
            known = steps.setdefault((settings.model_dump_json(include={*DATA, *LENGTH}), step), start)
            require(known == start, f"{known} and {start} are one step of {settings.data}, {step}: write it in one way")
        _check(settings, *opened[place])


def _check(settings: Settings, data: Dataset, model: torch.nn.Module) -> None:
    check_batch_norm(settings.bn_batches, model, settings.model)
    total = total_steps(settings, data)
    length = 0
    if isinstance(settings, TicketSettings):
        check_steps(settings, total)
    if isinstance(settings, TrainSettings):
        mask_learning(settings, data)
        _ = initialisations[settings.init]  # raises with the nearest name
    if isinstance(settings, TuneSettings):
        build_smoothing(settings, model, data)
    if isinstance(settings, TuneSettings) and settings.method != DENSE:
        steps = annealing_steps(settings, steps_per_epoch(settings, data), total)
        data_of_score = score_data(settings, data)
        options = {name: getattr(settings, name) for name in SELECTION}
        if settings.score == LEARNED:
            options["score"] = "magnitude"  # any will do, to see whether shapes fit
        if isinstance(settings, ChildSettings) and settings.family in ("anti-random", "partition"):
            choose(settings, model, data, None)  # a deal goes by shapes alone
        else:
            select(
                model, settings.sparsity, allow_empty_layers=True, data=data_of_score,
                rounds=None if data_of_score is None else 1, **options,
            )  # fmt: skip
        length = build_method(settings, Mask({"weight": torch.tensor([True, False])}), steps).steps
    elif settings.schedule == "allr":
        raise LehrError("schedule is 'allr', which goes by what a cut takes away, and nothing is cut here: use 'llr'")
    check_average(settings.average, total, length)
