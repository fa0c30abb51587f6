"""What a network is tuned with: the path of its probabilities, and what goes with it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lehr.smoothing import Smoothing
from lehr.sparsify import Method
from lehr.sparsify.passes import Inactive
from lehr.training.losses import distillation_loss, task_loss
from lehr.training.probe import Probe


@dataclass(frozen=True)
class Teacher:
    """A network to learn from: its share `weight` in the loss, and the temperature of both."""

    network: nn.Module
    weight: float
    temperature: float


@dataclass(frozen=True)
class Tuning:
    """How a network is tuned down, beside its settings; the defaults are dense training.

    Args:
        method: the path of the probabilities; None for a dense network.
        inactive: as in `lehr.attach`.
        teacher: a network to learn from beside the targets.
        smoothing: of labels and network in the training passes, gone at the end.
        peak: factor on the learning rate throughout.
        restart: the step at which the learning-rate schedule begins anew; None for never.
        probe: measures the network after each epoch, for the metrics.
    """

    method: Method | None = None
    inactive: Inactive = "hold"
    teacher: Teacher | None = None
    smoothing: Smoothing | None = None
    peak: float = 1.0
    restart: int | None = None
    probe: Probe | None = None

    def forward(
        self, network: nn.Module, inputs: Tensor, targets: Tensor, step: int, *, bf16: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Logits of a training pass, and its loss.

        Args:
            network: in training mode.
            inputs, targets: a batch.
            step: of this run, from 0.
            bf16: whether the passes are in it; autocast is entered here, or Accelerate would also judge the network in it.

        >>> tuning = Tuning(smoothing=Smoothing(steps=10, labels=0.4))
        >>> _, loss = tuning.forward(nn.Identity(), torch.tensor([[9.0, 0.0]]), torch.tensor([0]), 5)
        >>> round(float(loss), 2)  # a tenth of 9
        0.9
        """
        softened = nullcontext() if self.smoothing is None else self.smoothing.at(step)
        smooth = 0.0 if self.smoothing is None else self.smoothing.label_smoothing(step)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
            with softened:
                logits = network(inputs)
            if self.teacher is not None:
                with torch.no_grad():
                    hint = self.teacher.network(inputs)
        if self.teacher is None:
            return logits, task_loss(logits, targets, smooth)
        weight, temperature = self.teacher.weight, self.teacher.temperature
        return logits, distillation_loss(logits, hint, targets, weight, temperature, smooth)


DENSE = Tuning()
