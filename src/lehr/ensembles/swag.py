"""SWAG: networks drawn from a Gaussian around the mean of snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import require

State = Mapping[str, Tensor]


def swag(states: Sequence[State], count: int, *, seed: int = 0) -> list[dict[str, Tensor]]:
    """Draw networks around snapshots of one training run (Maddox et al. 2019, 1902.02476).

    ``w = mean + (s * z_1 + D z_2 / sqrt(K - 1)) / sqrt(2)`` with s the standard deviation of every weight over the K snapshots, D their
    deviations from the running mean, and z standard normal. Batch-norm's statistics belong to no draw: estimate them anew.

    Args:
        states: state dicts of the snapshots, in order; what is no floating tensor is taken from the last.
        count: of networks.
        seed: of the draws.

    Raises:
        LehrError: there are fewer than two snapshots.

    >>> drawn = swag([{"w": torch.zeros(3)}, {"w": torch.zeros(3)}], 2)
    >>> len(drawn), drawn[0]["w"].tolist()
    (2, [0.0, 0.0, 0.0])
    """
    require(len(states) >= 2, f"SWAG has {len(states)} snapshots: give at least 2")
    result: list[dict[str, Tensor]] = [{} for _ in range(count)]
    for name, last in states[-1].items():
        if not last.is_floating_point():
            for own in result:
                own[name] = last.clone()
            continue
        stacked = torch.stack([state[name].float() for state in states])
        running = stacked.cumsum(0) / torch.arange(1, len(states) + 1).reshape(-1, *[1] * last.ndim)
        mean, deviations = running[-1], stacked - running
        sd = (stacked - mean).square().mean(0).sqrt()
        for number, own in enumerate(result):
            each = _normal(seed, f"{name}/each", number, last.numel()).reshape(last.shape)
            along = _normal(seed, "along", number, len(states))  # one number a snapshot, the same for every tensor
            low = torch.tensordot(along, deviations, 1) / (len(states) - 1) ** 0.5
            own[name] = (mean + (sd * each + low) / 2**0.5).to(last.dtype)
    return result


def _normal(seed: int, name: str, number: int, count: int) -> Tensor:
    """Standard normal numbers, by the inverse of their distribution."""
    numbers: Tensor = torch.special.ndtri(Stream(seed, name, Purpose.SAMPLE, number).uniform(0, count).double())
    return numbers.float()
