"""Averaging of late weights, and batch-norm statistics for weights that no training pass has seen."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, update_bn

from lehr.base.errors import require

BN_BATCHES = 100  # for the statistics of an averaged network, unless told otherwise


class Average:
    """The mean of the weights after each of the last optimizer steps (Izmailov et al. 2018, 1803.05407).

    It begins at step ``round((1 - share) total)``. Of sparse networks with one mask it is as sparse as they are.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> mean = Average(net, start=0)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = net.weight.data.fill_(value)
    ...     mean.add(net, step=1)
    >>> mean.put(net); net.weight.item()
    3.0
    """

    def __init__(self, model: nn.Module, start: int) -> None:
        self.start = start
        self.averaged = AveragedModel(model)

    def add(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimizer step number `step` (from 1)."""
        if step > self.start:
            self.averaged.update_parameters(model)

    def put(self, model: nn.Module) -> None:
        """Give the network the averaged weights; its buffers stay."""
        if int(self.averaged.n_averaged):
            with torch.no_grad():
                for own, mean in zip(model.parameters(), self.averaged.module.parameters(), strict=True):
                    own.copy_(mean)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold."""
        return {"n": self.averaged.n_averaged, **dict(self.averaged.module.named_parameters())}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
        with torch.no_grad():
            self.averaged.n_averaged.copy_(state["n"])
            for name, parameter in self.averaged.module.named_parameters():
                parameter.copy_(state[name])


def check_average(share: float, total: int, annealing: int) -> int:
    """The step at which averaging begins; it must not begin before annealing has ended.

    >>> check_average(0.25, 100, 50)
    75
    """
    start = round((1.0 - share) * total)
    require(
        share == 0 or total == 0 or start < total,
        f"average is {share:g} and the run has {total} steps, of which that is none: average over more",
    )
    require(
        share == 0 or start >= annealing,
        f"average is {share:g}, so averaging begins at step {start} and annealing ends at step {annealing}: "
        "average less or shorten --anneal",
    )
    return start


def has_batch_norm(model: nn.Module) -> bool:
    """Whether any layer keeps running statistics.

    >>> has_batch_norm(nn.BatchNorm1d(2)), has_batch_norm(nn.LayerNorm(2))
    (True, False)
    """
    return any(isinstance(module, _BatchNorm) and module.track_running_stats for module in model.modules())


def check_batch_norm(batches: int | None, model: nn.Module, name: str) -> None:
    """Raise where statistics are asked for that a network does not keep.

    >>> check_batch_norm(None, nn.Linear(1, 1), "doc")
    """
    require(not batches or has_batch_norm(model), f"bn_batches is {batches} and {name} has no batch-norm: leave it out")


def reestimate_batch_norm(model: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Running statistics anew: their plain mean over these batches of prepared inputs; weights are untouched.

    After a cut the activations have other statistics than those that batch-norm remembers.

    >>> norm = nn.BatchNorm1d(1)
    >>> reestimate_batch_norm(norm, [torch.tensor([[1.0], [3.0]])])
    >>> norm.running_mean.item()
    2.0
    """
    update_bn(inputs, model)
