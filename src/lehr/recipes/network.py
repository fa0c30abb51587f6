"""A trained network with its data, from a run or from a file of the user's."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from lehr.data import Dataset, evaluation_batches
from lehr.deploy.pack import load_mask
from lehr.masks import Mask
from lehr.recipes.fresh import fresh_model
from lehr.recipes.parent import DATA, inherit, load_data, parent_settings, parent_weights
from lehr.runs import RunFolder, Settings, validated
from lehr.runs.weights import load_weights

EXAMPLES = 4


class JudgeSettings(BaseModel):
    """Which finished network is looked at; its data and model are its own unless told otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str  # a run folder, or a file of weights
    data: str | None = None
    model: str | None = None
    image_size: int | None = Field(default=None, ge=1)
    context: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Network:
    """A network, the data it was made for, and its mask (None for a dense one)."""

    model: nn.Module
    data: Dataset
    mask: Mask | None
    settings: Settings


def open_network(wanted: JudgeSettings) -> Network:
    """The network of a run folder, or of a file of weights.

    A mask is that of the run or of the ``.lehr`` file; for another file what its exact zeros show, if it has any.
    """
    source = wanted.run
    base = parent_settings(source)
    given = {name: getattr(wanted, name, None) for name in DATA}
    settings = validated(Settings, {"epochs": 0, **inherit(source, given)})
    data = load_data(settings)
    model = fresh_model(settings.model, data, 0 if base is None else base.seed)
    load_weights(model, parent_weights(source), f"the network of {source}")
    folder = RunFolder(source)
    if folder.mask.is_file():
        mask: Mask | None = Mask.load(folder.mask)
    elif source.endswith(".lehr"):
        mask = load_mask(source) or None
    else:
        shown = Mask.from_zeros(model)
        mask = shown if base is None and shown.kept < shown.size else None
    return Network(model, data, mask, settings)


def few(data: Dataset) -> Tensor:
    """Some validation inputs, by which a file is held to torch: zeros would tell too little."""
    inputs, _ = next(iter(evaluation_batches(data.validation, data, EXAMPLES)))
    return inputs
