"""The loss of every task, and distillation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def rows(logits: Tensor) -> Tensor:
    """Logits (N, classes) or (N, length, classes) as one row a prediction, float32.

    >>> import torch
    >>> rows(torch.zeros(2, 3, 5)).shape
    torch.Size([6, 5])
    """
    return logits.reshape(-1, logits.shape[-1]).float()


def for_members(logits: Tensor, targets: Tensor) -> Tensor:
    """Targets in the shape of predictions: repeated for each of M members where logits are (N, M, classes) and targets (N,).

    >>> import torch
    >>> for_members(torch.zeros(2, 3, 4), torch.tensor([0, 1])).tolist()
    [[0, 0, 0], [1, 1, 1]]
    """
    return targets.unsqueeze(-1).expand(logits.shape[:-1]) if logits.ndim == targets.ndim + 2 else targets


def task_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy in nats over all examples; `targets` (N,) or (N, length).

    With `smoothing` e in [0, 1) the target has ``1 - e + e / C`` and each of the other C - 1 classes ``e / C`` (Szegedy et al. 2016,
    1512.00567). Logits (N, M, classes) of M members are all compared with the targets (N,), and their losses added up, so that each
    learns at the rate that it would alone (Havasi et al. 2021, 2010.06610).

    >>> import torch
    >>> round(float(task_loss(torch.zeros(2, 4), torch.tensor([0, 1]))), 4)
    1.3863
    """
    wanted = for_members(logits, targets)
    members = logits.shape[-2] if wanted.ndim > targets.ndim else 1
    return members * F.cross_entropy(rows(logits), wanted.reshape(-1), label_smoothing=smoothing)


def distillation_loss(
    logits: Tensor, teacher: Tensor, targets: Tensor, weight: float, temperature: float, smoothing: float = 0.0
) -> Tensor:
    """``(1 - a) CE + a T^2 KL(softmax(teacher / T) || softmax(logits / T))`` (Hinton et al. 2015, 1503.02531).

    `teacher` has the shape of `logits`; a is `weight` in [0, 1], T is `temperature` above 0; `smoothing` as in `task_loss`.

    >>> import torch
    >>> same = torch.tensor([[1.0, 2.0]])
    >>> float(distillation_loss(same, same, torch.tensor([0]), weight=1.0, temperature=3.0))
    0.0
    """
    members = 1
    if logits.ndim == teacher.ndim + 1:  # of members, who all learn from it
        members, teacher = logits.shape[-2], teacher.unsqueeze(-2).expand_as(logits)
    student, master = (F.log_softmax(rows(x) / temperature, -1) for x in (logits, teacher))
    pull = members * F.kl_div(student, master, reduction="batchmean", log_target=True) * temperature**2
    return (1.0 - weight) * task_loss(logits, targets, smoothing) + weight * pull
