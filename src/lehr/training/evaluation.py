"""How good is a network? Accuracy and negative log-likelihood."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lehr.data import Dataset, Split, evaluation_batches


@dataclass(frozen=True)
class Scores:
    """Accuracy in [0, 1], and mean negative log-likelihood in nats."""

    accuracy: float
    nll: float
    count: int

    def as_dict(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)


def evaluate(model: nn.Module, split: Split, data: Dataset, *, device: torch.device | str = "cpu") -> Scores:
    """Judge a network on all examples of a split, in evaluation mode and fp32; its mode is put back after.

    >>> from lehr.data import load
    >>> from lehr.models import create
    >>> digits = load("digits")
    >>> evaluate(create("lenet5", 10, digits.input_shape), digits.test, digits).count
    360
    """
    training = model.training
    model.eval()
    correct, total_nll = 0, 0.0
    try:
        with torch.inference_mode():
            for images, labels in evaluation_batches(split, data):
                logits = model(images.to(device)).float()
                labels = labels.to(device)
                correct += int((logits.argmax(1) == labels).sum())
                total_nll += float(F.cross_entropy(logits, labels, reduction="sum").double())
    finally:
        model.train(training)
    return Scores(correct / len(split), total_nll / len(split), len(split))
