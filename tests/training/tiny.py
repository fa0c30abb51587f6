"""Small data of every task, with something in it to learn, and runs on it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lehr.data import Dataset, Split, Windows
from lehr.data.images import Pixels
from lehr.data.text import Tokens
from lehr.models.gpt import GPT
from lehr.models.text_encoder import TextEncoder
from lehr.runs import RunFolder, TrainSettings
from lehr.training import Outcome, fit


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only wait for each other on more; and no search for garbage in all that is imported."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(before)


def images(count: int = 40) -> Dataset:
    """Two classes of 4x4 images, dark and bright."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(count) % 2
    noise = torch.randint(0, 100, (count, 1, 4, 4), generator=generator)
    split = Split((noise + 100 * targets[:, None, None, None]).to(torch.uint8), targets)
    shape = (1, 4, 4)
    return Dataset("made", "image-classification", split, split, split, 2, shape, Pixels((100.0,), (50.0,), False))


def sentences(count: int = 64) -> Dataset:
    """Eight words; the class says whether word 3 is in the sentence."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(4, 8, (count, 6), generator=generator)
    targets = torch.arange(count) % 2
    words[targets == 1, 2] = 3
    words[::3, 4:] = 0  # shorter ones
    split = Split(words, targets)
    return Dataset("made", "text-classification", split, split, split, 2, (6,), Tokens(padded=True), 8)


def characters(count: int = 600) -> Dataset:
    """A text that says abcd over and over."""
    text = Windows((torch.arange(count) % 4).to(torch.uint8), 8)
    return Dataset("made", "language-modelling", text, text, text, 4, (8,), Tokens(padded=False), 4)


def with_batch_norm() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 8),
        nn.BatchNorm1d(8),
        nn.Linear(8, 2),
    )


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))


def gpt() -> nn.Module:
    torch.manual_seed(0)
    return GPT(width=16, depth=1, heads=2, vocabulary=4, context=8)


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return TextEncoder(16, 1, 2, num_classes=2, vocabulary=8, context=6, dropout=0.0)


def settings(**values: Any) -> TrainSettings:
    return TrainSettings(
        **{"data": "made", "model": "made", "epochs": 3, "batch_size": 8, "lr": 0.05, "threads": 1, **values}
    )


def train(
    folder: Path, model: nn.Module, data: Dataset, options: TrainSettings, **more: Any
) -> tuple[Outcome, RunFolder]:
    """A run of `fit` in this folder."""
    run = RunFolder(folder)
    run.path.mkdir(exist_ok=True)
    return fit(model, data, options, run, **more), run
