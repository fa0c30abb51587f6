"""Channels last where convolutions are narrow, and never where the network could not be called."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lehr.data import load
from lehr.models import create
from lehr.training import evaluate
from lehr.training.layout import WIDEST, input_layout

LAST, USUAL = torch.channels_last, torch.contiguous_format


def convolutional(width: int, *then: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), *then)


class Viewed(nn.Module):
    """Takes a view that channels last does not have, in training passes alone where asked."""

    def __init__(self, *, only_training: bool = False) -> None:
        super().__init__()
        self.inner, self.only_training = convolutional(8), only_training

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner(x)
        return x.flatten(1) if self.only_training and not self.training else x.view(len(x), -1)


class Refusing(nn.Module):
    """Takes nothing but images of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = convolutional(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not x.any():
            raise ValueError("an empty image")
        out: torch.Tensor = self.inner(x)
        return out


@pytest.mark.parametrize(
    ("model", "inputs", "expected"),
    [
        (convolutional(WIDEST), torch.zeros(2, 3, 8, 8), LAST),
        (convolutional(WIDEST + 1), torch.zeros(2, 3, 8, 8), USUAL),
        (convolutional(8, nn.Conv2d(8, 512, 1)), torch.zeros(2, 3, 8, 8), USUAL),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), torch.zeros(2, 3, 8, 8), USUAL),
        (nn.Linear(8, 2), torch.zeros(2, 8), USUAL),
        (Refusing(), torch.zeros(2, 3, 8, 8), USUAL),
        (Viewed(), torch.zeros(2, 3, 8, 8), USUAL),
        (Viewed(only_training=True).eval(), torch.zeros(2, 3, 8, 8), USUAL),
    ],
)
def test_only_where_it_was_measured_to_be_faster_and_can_be_done(model, inputs, expected):
    assert input_layout(model, inputs) is expected


def test_trying_leaves_network_and_random_numbers_alone():
    model = convolutional(8, nn.Dropout())
    before, state = {n: t.clone() for n, t in model.state_dict().items()}, torch.get_rng_state()
    assert input_layout(model, torch.zeros(2, 3, 8, 8)) is LAST
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_a_network_is_judged_alike_in_either():
    digits = load("digits")
    model = create("lenet5", **digits.sizes)
    usual, last = (evaluate(model, digits.test, digits, layout=layout) for layout in (USUAL, LAST))
    assert last.nll == pytest.approx(usual.nll, rel=1e-5)
    assert last.accuracy == usual.accuracy
