"""A network as its seed initialises it, checked to take the data."""

from __future__ import annotations

import torch
from torch import nn

from lehr import models
from lehr.base.errors import LehrError, one_line
from lehr.base.modes import in_mode
from lehr.data import Dataset


def fresh_model(name: str, data: Dataset, seed: int) -> nn.Module:
    """The network as the seed initialises it, for this data; checked to take it."""
    torch.manual_seed(seed)
    model = models.create(name, **data.sizes)
    check_fits(model, data, name)
    return model


def check_fits(model: nn.Module, data: Dataset, name: str) -> None:
    """Raise unless the network takes the data's inputs and gives a number for each class, or next token."""
    what = "images" if data.vocabulary is None else "tokens"
    try:
        with torch.no_grad(), in_mode(model):
            out = model(data.blank(2))
    except Exception as error:  # the user's own code may raise anything
        raise LehrError(
            f"{name} does not take {what} of shape {data.input_shape} ({one_line(error)}): adapt the network"
        ) from error
    places = data.input_shape if data.task == "language-modelling" else ()
    wanted = (2, *places, data.num_classes)
    if not isinstance(out, torch.Tensor) or out.shape != wanted:
        shape = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise LehrError(f"{name} gives {shape} for 2 {what}: it must give logits of shape {wanted}")
