"""How good and how honest are predictions? Accuracy, NLL, calibration error, Brier score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lehr.analysis.calibration import reliability
from lehr.base.modes import in_mode


@dataclass(frozen=True)
class Quality:
    """Accuracy in [0, 1], NLL in nats, ECE in [0, 1] over 15 bins, and the Brier score in [0, 2]."""

    accuracy: float
    nll: float
    ece: float
    brier: float
    count: int

    def as_dict(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)


def predictions(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    device: torch.device | str = "cpu",
    layout: torch.memory_format = torch.preserve_format,
) -> tuple[Tensor, Tensor]:
    """Logits, float32 of shape (n, classes), and targets (n,) of all batches, in evaluation mode; both on the CPU.

    Args:
        model: on that device.
        batches: of inputs and targets.
        device, layout: where, and with which channels first in memory, the inputs are given.

    >>> predictions(nn.Linear(2, 3), [(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))])[0].shape
    torch.Size([4, 3])
    """
    logits, targets = [], []
    with in_mode(model), torch.inference_mode():
        for inputs, wanted in batches:
            out = model(inputs.to(device, memory_format=layout))
            logits.append(out.reshape(-1, out.shape[-1]).float().cpu())
            targets.append(wanted.reshape(-1))
    return torch.cat(logits), torch.cat(targets)


def quality(logits: Tensor, targets: Tensor) -> Quality:
    """The scores of predictions: logits (n, classes), targets (n,).

    ``ECE = sum_b |B_b| / n |acc(B_b) - conf(B_b)|`` over 15 equal bins of the highest probability (Guo et
    al. 2017, 1706.04599); ``Brier = mean sum_c (p_c - y_c)^2``.

    >>> sure = quality(torch.tensor([[9.0, -9.0], [9.0, -9.0]]), torch.tensor([0, 1]))
    >>> sure.accuracy, round(sure.ece, 3), round(sure.brier, 3)
    (0.5, 0.5, 1.0)
    """
    hits = F.one_hot(targets, logits.shape[-1])
    return Quality(
        accuracy=float((logits.argmax(-1) == targets).double().mean()),
        nll=float(F.cross_entropy(logits.double(), targets)),
        # Not torchmetrics', which has a bin of its own for a confidence of exactly 1, as float32 rounds many to.
        ece=sum(row.count / len(targets) * abs(row.accuracy - row.confidence) for row in reliability(logits, targets)),
        brier=float((logits.double().softmax(-1) - hits).square().sum(-1).mean()),
        count=len(targets),
    )


def mean_quality(parts: Iterable[Quality]) -> Quality:
    """The mean of scores over equally weighted parts, as for corruptions and severities.

    >>> a, b = Quality(1.0, 0.0, 0.1, 0.0, 5), Quality(0.5, 1.0, 0.3, 1.0, 5)
    >>> mean_quality([a, b]).accuracy
    0.75
    """
    rows = list(parts)
    means = {name: sum(getattr(row, name) for row in rows) / len(rows) for name in ("accuracy", "nll", "ece", "brier")}
    return Quality(**means, count=sum(row.count for row in rows))
