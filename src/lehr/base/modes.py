"""The mode of a network, training or evaluation, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_mode(model: nn.Module, *, training: bool = False) -> Iterator[None]:
    """All of a network in one mode; afterwards every module is in its own again, frozen norms among them.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).eval())
    >>> with in_mode(net, training=False):
    ...     net.training
    False
    >>> net.training, net[1].training
    (True, False)
    """
    modes = {module: module.training for module in model.modules()}
    try:
        model.train(training)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
