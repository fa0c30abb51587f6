"""How good is a network? Accuracy and negative log-likelihood, and for language bits per character."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lehr.base.modes import in_mode
from lehr.data import Dataset, Examples, evaluation_batches
from lehr.training.layout import input_layout
from lehr.training.losses import rows


@dataclass(frozen=True)
class Scores:
    """Accuracy in [0, 1], and mean negative log-likelihood in nats, over `count` predictions.

    >>> Scores(accuracy=0.9, nll=0.3, count=1000).as_dict()
    {'accuracy': 0.9, 'nll': 0.3, 'count': 1000}
    """

    accuracy: float
    nll: float
    count: int

    def as_dict(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)

    @property
    def bits(self) -> float:
        """``nll / ln 2``: bits per character, for a language model over characters.

        >>> Scores(0.5, 1.3862943611198906, 1).bits
        2.0
        """
        return self.nll / math.log(2)


def evaluate(
    model: nn.Module,
    examples: Examples,
    data: Dataset,
    *,
    device: torch.device | str = "cpu",
    layout: torch.memory_format | None = None,
) -> Scores:
    """Judge a network on all given examples, in evaluation mode and fp32; its mode is put back after.

    `layout` is that of the inputs; None for what `lehr.training.layout.input_layout` says.

    >>> from lehr.data import load
    >>> from lehr.models import create
    >>> digits = load("digits")
    >>> evaluate(create("lenet5", **digits.sizes), digits.test, digits).count
    360
    """
    if layout is None:
        layout = input_layout(model, data.blank(2).to(device))
    correct, count, total_nll = 0, 0, 0.0
    with in_mode(model), torch.inference_mode():
        for inputs, targets in evaluation_batches(examples, data):
            logits = rows(model(inputs.to(device, memory_format=layout)))
            targets = targets.to(device).reshape(-1)
            correct += int((logits.argmax(-1) == targets).sum())
            count += len(targets)
            total_nll += float(F.cross_entropy(logits, targets, reduction="sum").double())
    return Scores(correct / count, total_nll / count, count)
