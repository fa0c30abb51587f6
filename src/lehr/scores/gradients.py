"""Gradients of a network's loss in some of its weights, without a trace in the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from lehr.base.errors import LehrError, one_line
from lehr.base.modes import in_mode
from lehr.scores.registry import Batches

BatchNorm = Literal["batch", "running"]
Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean over all predictions: outputs (N, classes) or (N, length, classes), targets (N,) or (N, length)."""
    return F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1))


@contextmanager
def normalised_by(model: nn.Module, batch_norm: BatchNorm) -> Iterator[None]:
    """The network in evaluation mode, where nothing is dropped, but for batch-norm that is to use the batch; afterwards as it was."""
    with in_mode(model):
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.training = batch_norm == "batch"
        yield


def losses(
    model: nn.Module, weights: Mapping[str, Tensor], batches: Batches, loss: Loss, temperature: float = 1.0
) -> Iterator[Tensor]:
    """The mean loss of each batch as a function of `weights`, logits divided by the temperature.

    Buffers, such as the running statistics of batch-norm, are copies.

    Raises:
        LehrError: there are no batches, or the network's outputs and the targets do not fit together.
    """
    if not len(batches):
        raise LehrError("data is empty: give at least one batch of (inputs, targets)")
    for inputs, targets in batches:
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        try:
            outputs = functional_call(model, {**buffers, **weights}, (inputs,))
            yield loss(outputs / temperature, targets)
        except (RuntimeError, TypeError, IndexError, ValueError) as error:
            raise LehrError(
                f"the network cannot be judged on a batch of data ({one_line(error, 200)}): give (inputs, targets)"
            ) from None


def leaves(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that gradients are taken in."""
    return {name: weight.detach().clone().requires_grad_() for name, weight in parameters.items()}


def mean_gradient(
    model: nn.Module, weights: Mapping[str, Tensor], batches: Batches, loss: Loss, temperature: float = 1.0
) -> dict[str, Tensor]:
    """The gradient of the mean loss over batches; arguments and errors as for `losses`."""
    total = {name: torch.zeros_like(weight, requires_grad=False) for name, weight in weights.items()}
    for one in losses(model, weights, batches, loss, temperature):
        for name, g in gradient(one, weights).items():
            total[name] += g / len(batches)
    return total


def gradient(loss: Tensor, weights: Mapping[str, Tensor], *, create_graph: bool = False) -> dict[str, Tensor]:
    """``d loss / d weight`` by name, 0 for weights that the loss does not depend on."""
    found = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph, allow_unused=True)
    pairs = zip(weights.items(), found, strict=True)
    return {name: torch.zeros_like(weight) if g is None else g for (name, weight), g in pairs}
