"""What networks are asked, and what they answer: each network once, corrupted images made once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lehr.base.errors import LehrError, require
from lehr.data import Dataset, Examples, Split, evaluation_batches
from lehr.models.wrappers import SelfEnsemble
from lehr.recipes.corrupted import Batches, CorruptedSettings, check_images, corrupted_images, fitting, prepared
from lehr.training import together
from lehr.training.layout import input_layout
from lehr.training.progress import SILENT, Bar

REMEMBERED = 4 << 30  # bytes of corrupted images
TEST, VALIDATION = "test", "validation"
Key = str | tuple[str, int]  # one of those two, or a corruption at a severity


class EnsembleSettings(CorruptedSettings):
    """How members are judged together; `run` is that of the first of them."""

    temperature: bool = False  # whether one is fitted on the validation set

    def check(self) -> None:
        """Raise where there is no such corruption or severity, or nothing that the settings could be of."""
        super().check()
        for name in ("examples", "severities"):
            unused = not self.asked and getattr(self, name) != type(self).model_fields[name].default
            require(
                not unused, f"{name} is given and is of corrupted images: ask for them with corrupted, or leave it out"
            )

    def about(self) -> str:
        """On what corrupted images.

        >>> EnsembleSettings(run="", corrupted=True, severities=(2, 4), examples=500).about()
        '19 corruptions, severities 2, 4, generated from the first 500 test images'
        """
        images = "the test images" if self.examples is None else f"the first {self.examples:,} test images"
        origin = f"generated from {images}" if self.corrupted_data is None else f"as published, {images}"
        kinds = ", ".join(self.corruptions) or f"{len(self.named())} corruptions"
        several = "severities" if len(self.severities) > 1 else "severity"
        return f"{kinds}, {several} {', '.join(map(str, self.severities))}, {origin}"


@dataclass(frozen=True)
class Answer:
    """Of one network to one set of images: the logits of its members, (M, n, classes), of which most networks have one, and the targets, (n,)."""

    logits: Tensor
    targets: Tensor


Answers = dict[Key, Answer]


def alike(one: Dataset, other: Dataset) -> bool:
    """Whether two data sets ask the same of networks: the same images, prepared in one way.

    The mean and deviation that images are scaled by are those of the examples trained on, so that a limit tells two apart.
    """
    first, second = ((d.name, d.input_shape, len(d.test), len(d.validation)) for d in (one, other))
    if first != second:
        return False
    index = torch.zeros(1, dtype=torch.int64)
    a, b = (d.prepare.judged(d.test.take(index).inputs) for d in (one, other))
    return torch.equal(a, b)


class Questions:
    """The sets of images that members are judged on.

    Args:
        data: of all networks that will be asked.
        settings: which sets.

    Raises:
        LehrError: there is no such corruption, or the data holds text.
    """

    def __init__(self, data: Dataset, settings: EnsembleSettings) -> None:
        settings.check()
        if settings.asked:
            check_images(data)
        self.settings, self.data = settings, data
        self.examples: Examples = data.test  # of which corrupted images are made
        if settings.examples is not None:
            self.examples = self.examples.first(settings.examples)
        self.keys: tuple[Key, ...] = (
            TEST, *([VALIDATION] if settings.temperature else []), *(settings.sets() if settings.asked else []),
        )  # fmt: skip
        self.made: dict[Key, list[Split]] = {}
        self.size = 0

    def batches(self, key: Key) -> Batches:
        """One set, as networks take it."""
        if key == TEST:
            return evaluation_batches(self.data.test, self.data)
        if key == VALIDATION:
            return evaluation_batches(self.data.validation, self.data)
        return prepared(self._images(key), self.data)

    def _images(self, key: Key) -> Iterator[Split]:
        if key in self.made:
            yield from self.made[key]
            return
        assert isinstance(key, tuple)
        parts = []
        for part in corrupted_images(self.examples, self.settings, *key):
            parts.append(part)
            yield part
        size = sum(part.inputs.numel() for part in parts)
        if self.size + size <= REMEMBERED:
            self.made[key] = parts
            self.size += size


def ask(network: nn.Module, questions: Questions, *, bar: Bar = SILENT, done: int = 0) -> Answers:
    """What a network answers to every set; asked on the GPU where there is one.

    Args:
        network: left where it is.
        questions: the sets.
        bar: shows how far it is, from `done` on.

    Raises:
        LehrError: the images do not fit the network.
    """
    place = together.state().device
    own = copy.deepcopy(network).eval().to(place)
    layout = input_layout(own, questions.data.blank(2).to(place))
    found: Answers = {}
    for count, key in enumerate(questions.keys, done + 1):
        logits, targets = [], []
        guard = fitting(questions.data) if isinstance(key, tuple) else nullcontext()
        with guard, torch.inference_mode():
            for inputs, wanted in questions.batches(key):
                x = inputs.to(place, memory_format=layout)
                out = own.members(x) if isinstance(own, SelfEnsemble) else own(x)[None]
                logits.append(out.flatten(1, -2).float().cpu())
                targets.append(wanted.reshape(-1))
        if not logits:
            raise LehrError(f"there are no images of {key}: give more examples")
        found[key] = Answer(torch.cat(logits, 1), torch.cat(targets))
        bar.update(count, key if isinstance(key, str) else key[0])
    return found
