"""`ticket`: one level of iterative magnitude pruning with rewinding."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lehr import models
from lehr.base.errors import CannotWrite, LehrError, require
from lehr.data import Batches
from lehr.masks.controls import controlled
from lehr.masks.targets import whole_parameters
from lehr.recipes.choice import choose, former_mask
from lehr.recipes.ending import ended_well, finish_sparse
from lehr.recipes.fresh import fresh_model
from lehr.recipes.method import annealing_steps, build_method
from lehr.recipes.parent import ancestors, load_data, parent_settings, parent_weights
from lehr.recipes.train import train
from lehr.runs import RunFolder, Settings, TicketSettings, TrainSettings
from lehr.runs.weights import load_weights
from lehr.training import fit, together
from lehr.training.progress import bar
from lehr.training.span import span, steps_per_epoch, total_steps
from lehr.training.tuning import Tuning

# What step k and the examples after it go by.
ALIKE = ("data", "model", "limit", "image_size", "context", "augment", "batch_size", "accumulate", "epochs", "seed")


def ticket(settings: TicketSettings, out: str | Path, *, resume: bool = False, show: bool = False) -> dict[str, Any]:
    """Prune what is left of the parent's network once more, go back to step k, and train the rest of the schedule again.

    Level 0 prunes nothing: it is the dense network from step k on, in another order of the data say.

    A level's mask is chosen by magnitude among the weights that the parent, the level before or the dense network, ended with and had
    in its mask. With ``rewind: weights`` every tensor is reset bit for bit to what the dense network had at step k, batch-norm's
    statistics and what is not masked too, and multiplied by the mask; the optimizer begins fresh; learning rates and the order of
    the data go on from step k. With ``rewind: rate`` the weights stay and the rest is the same (Renda et al. 2020, 2003.02389); with ``rewind: no``
    they stay and the rate is that of the end (fine-tuning). ``control`` and ``reinit`` are the paper's controls (1903.01611).

    With ``rewind: weights`` the folder holds ``origin.safetensors`` beside network and mask, so that the next level needs nothing else.

    Args:
        settings: of this level; the parent is the folder of the level before, or of the dense run.
        out: folder of the run.
        resume: go on where the folder stopped.
        show: a progress bar.

    Raises:
        LehrError: the parent is not the level before, has other settings, or leaves a layer without a weight.
    """
    settings = settings.settled(torch.get_num_threads())
    torch.set_num_threads(settings.threads)  # scores are sums, and go by them too
    folder, data = RunFolder(out), load_data(settings)
    base = parent_settings(settings.parent)
    require(base is not None, f"{settings.parent} is a file of weights, and a ticket needs the run: give its folder")
    assert base is not None
    _check_parent(settings, base)
    model = fresh_model(settings.model, data, base.seed)
    load_weights(model, parent_weights(settings.parent), f"the network of {settings.parent}")
    within = former_mask(settings.parent)
    chosen = choose(settings, model, data, within)
    mask = controlled(chosen, settings.control, whole_parameters(model, chosen), settings.seed, within)
    total = total_steps(settings, data)
    check_steps(settings, total)
    method = build_method(
        settings,
        mask,
        annealing_steps(settings, steps_per_epoch(settings, data), total),
        within if mask is chosen else None,
    )
    require(
        mask is chosen or not method.reselects,
        f"control is {settings.control} and {settings.method} chooses its weights again: give a method with a fixed target",
    )
    if settings.reinit is not None:
        fresh = models.initialise(
            fresh_model(settings.model, data, settings.reinit), _settings_of(_dense(settings.parent)).init
        )
        load_weights(model, fresh.state_dict(), "a fresh network")
    _check_origin(settings, base)
    batches = len(Batches(data, settings.batch_size, settings.order_seed))
    with together.opened(folder, settings, resume=resume):
        if folder.done:
            return ended_well(folder)
        if settings.rewind == "weights" and settings.reinit is None:
            load_weights(model, _origin(settings, base, folder, span(settings, data)[0]), f"step {settings.start}")
        torch.manual_seed(settings.seed)
        with bar(f"level {settings.level}", settings.epochs * batches, show=show) as line:
            outcome = fit(model, data, settings, folder, tuning=Tuning(method, settings.inactive), bar=line)
        finish_sparse(folder, model, data, outcome, method)
    return folder.result()


def _check_parent(settings: TicketSettings, base: Settings) -> None:
    """Raise unless the parent is the level before, trained in the same way."""
    former = base.level if isinstance(base, TicketSettings) else 0
    if former != max(settings.level - 1, 0) or (not settings.level and isinstance(base, TicketSettings)):
        raise LehrError(
            f"level is {settings.level} and {settings.parent} is level {former}: levels come one after the other"
        )
    for name in ALIKE:
        mine, theirs = getattr(settings, name), getattr(base, name)
        require(
            mine == theirs,
            f"{name} is {mine!r} and {theirs!r} in {settings.parent}: a ticket goes back to a step of its parent, by which that goes: give the same",
        )


def check_steps(settings: TicketSettings, total: int) -> None:
    """Raise where the schedule has no step after the one that is gone back to."""
    require(
        total > 0 or not settings.epochs,
        f"rewinding to {settings.start} leaves no step of the schedule to train: go back further, 1it is one step",
    )


def _check_origin(settings: TicketSettings, base: Settings) -> None:
    """Raise unless the parent's weights at step k can be had."""
    if isinstance(base, TicketSettings):
        return
    if not isinstance(base, TrainSettings) or base.learn_mask or base.parent is not None:
        raise LehrError(f"{settings.parent} is not a dense run from its initialisation: a ticket begins with one")


def _origin(settings: TicketSettings, base: Settings, folder: RunFolder, step: int) -> dict[str, Tensor]:
    """The dense network at step k: from the level before, from the dense run, or trained up to there once more, to the same bits."""
    way = folder.path / "way"
    if not folder.origin.is_file():
        before = RunFolder(settings.parent)
        if base.start == settings.start and before.origin.is_file():  # else that of another step, or the dense run
            found = before.origin_weights()
        else:
            found = _passed(_dense(settings.parent), settings.start, step, way)
        together.meet()
        if together.rank() == 0:
            folder.keep_origin(found)
    if together.rank() == 0:
        shutil.rmtree(way, ignore_errors=True)  # also what a kill has left of it
    together.meet()
    return folder.origin_weights()


def _passed(whole: RunFolder, start: str, step: int, way: Path) -> dict[str, Tensor]:
    """The weights that a dense run had at a step; where it did not keep them it does from now on."""
    found = whole.kept(step)
    if found is None:
        stopped = {"stop": start, "average": 0.0, "bn_batches": None, "keep": ()}
        train(_settings_of(whole).model_copy(update=stopped), way, resume=True)
        found = RunFolder(way).weights()
        if together.rank() == 0:
            with suppress(CannotWrite):  # it may be somebody else's
                whole.keep(step, found)
    return found


def _dense(parent: str) -> RunFolder:
    """The dense run that a chain of levels began with."""
    return RunFolder(ancestors(parent)[-1])


def _settings_of(dense: RunFolder) -> TrainSettings:
    settings = dense.settings()
    require(isinstance(settings, TrainSettings), f"{dense.path} is not a dense run: a ticket begins with one")
    assert isinstance(settings, TrainSettings)
    return settings
