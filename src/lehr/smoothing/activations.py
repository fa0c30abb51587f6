"""Soft activations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RELUS = frozenset({torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu, F.relu_})
"""What a ReLU is called, by modules and by functions."""
IN_PLACE = frozenset({torch.relu_, Tensor.relu_, F.relu_})


def soft_relu(x: Tensor, beta: float) -> Tensor:
    """``x sigmoid(beta x)``: the Swish of Ramachandran et al. 2017 (1710.05941), which becomes the ReLU as beta grows.

    Args:
        x: of any shape.
        beta: sharpness, above 0: 1 is SiLU.

    >>> torch.allclose(soft_relu(torch.tensor([-1.0, 2.0]), 1e6), torch.tensor([0.0, 2.0]))
    True
    """
    return F.silu(x * beta) / beta
