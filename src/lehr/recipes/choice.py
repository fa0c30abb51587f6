"""The mask that settings ask for."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import LehrError
from lehr.data import Dataset
from lehr.masks import Mask, select
from lehr.masks.partition import partition
from lehr.runs import ChildSettings, RunFolder, TuneSettings
from lehr.runs.weights import read_weights
from lehr.scores import DataScore, scores

LEARNED = "learned-mask"

# What is chosen, and how.
SELECTION = ("score", "scope", "distribution", "granularity", "target_modules", "exclude_modules")


def choose(settings: TuneSettings, model: nn.Module, data: Dataset, within: Mask | None) -> Mask:
    """The mask that the settings ask for, of the network as it is.

    A layer may be left without a weight: `build_method` refuses that where the method keeps to this mask.
    """
    options = {name: getattr(settings, name) for name in SELECTION}
    if isinstance(settings, ChildSettings) and settings.family in ("anti-random", "partition"):
        dealt = {name: options[name] for name in ("granularity", "target_modules", "exclude_modules", "scope")}
        return partition(model, settings.parts, seed=settings.draw_seed, **dealt)[settings.child % settings.parts]
    if isinstance(settings, ChildSettings) and settings.family == "random":
        options["score"] = "random"
        return select(model, settings.sparsity, seed=settings.draw_seed, allow_empty_layers=True, **options)
    if settings.score == LEARNED:
        options["score"] = learned_scores(settings.parent)
    looked_at = score_data(settings, data)
    return select(
        model, settings.sparsity, seed=settings.seed, within=within, data=looked_at, allow_empty_layers=True, **options
    )  # fmt: skip


def former_mask(parent: str | Path) -> Mask | None:
    """The mask of a parent that is sparse already, within which the next one is chosen; None for a dense one."""
    folder = RunFolder(parent)
    return Mask.load(folder.mask) if folder.mask.is_file() else None


def score_data(settings: TuneSettings, data: Dataset) -> list[tuple[Tensor, Tensor]] | None:
    """What a score looks at, if it does: one batch of training examples, as they are judged, 10 for each class or a batch of training.

    Which examples: by the seed.
    """
    if not isinstance(scores[settings.score], DataScore):
        return None
    count = min(len(data.train), max(settings.batch_size, 10 * data.num_classes))
    keys = Stream(settings.seed, "examples", Purpose.SCORE).bits(0, 2 * len(data.train)).view("<u4")
    split = data.train.take(torch.from_numpy(keys.argsort(kind="stable")[:count]))
    return [(data.prepare.judged(split.inputs), split.targets)]


def learned_scores(parent: str | Path) -> dict[str, Tensor]:
    """The mask that a run has learned with its weights."""
    path = RunFolder(parent).learned
    if not path.is_file():
        raise LehrError(f"{parent} has learned no mask: train it with --learn-mask, or choose another score")
    return read_weights(path)
