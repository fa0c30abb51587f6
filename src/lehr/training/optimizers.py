"""The optimizers by name."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from lehr.base.errors import unknown
from lehr.models.wrappers.batch_ensemble import RankOne


def make_optimizer(name: str, model: nn.Module, lr: float, momentum: float, weight_decay: float) -> Optimizer:
    """SGD with Nesterov momentum, Adam or AdamW; weight decay spares biases and norms: vectors, and those that each member of a network has.

    >>> type(make_optimizer("adamw", nn.Linear(2, 2), 1e-3, 0.9, 0.01)).__name__
    'AdamW'
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    vectors = {p for module in model.modules() if isinstance(module, RankOne) for p in module.vectors()}
    decayed = [p for p in parameters if p.ndim >= 2 and p not in vectors]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2 or p in vectors], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0)
    if name == "adam":
        return torch.optim.Adam(groups, lr=lr, betas=(momentum, 0.999))
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999))
    raise unknown("optimizer", name, ["sgd", "adam", "adamw"])
