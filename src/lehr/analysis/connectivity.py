"""Linear mode connectivity: how bad the networks between two networks are."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lehr.base.errors import LehrError, require
from lehr.training.averaging import has_batch_norm, reestimate_batch_norm
from lehr.training.losses import rows, task_loss

STABLE = 0.02  # the barrier below which two networks are called connected


@dataclass(frozen=True)
class Barrier:
    """What lies on the line from one network to another.

    Args:
        alphas: places on it, 0 being the first network and 1 the second.
        errors: share of wrong predictions at each.
        losses: mean cross-entropy at each, in nats.

    >>> flat = Barrier((0.0, 0.5, 1.0), (0.1, 0.1, 0.1), (0.2, 0.2, 0.2))
    >>> flat.barrier, flat.connected
    (0.0, True)
    """

    alphas: tuple[float, ...]
    errors: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def barrier(self) -> float:
        """``max_a E(a) - (E(0) + E(1)) / 2`` of the error: below 0.02 the networks count as connected.

        >>> Barrier((0.0, 0.5, 1.0), (0.1, 0.5, 0.3), (0.2, 1.0, 0.6)).barrier
        0.3
        """
        return max(self.errors) - (self.errors[0] + self.errors[-1]) / 2

    @property
    def loss_barrier(self) -> float:
        """The same of the loss, in nats."""
        return max(self.losses) - (self.losses[0] + self.losses[-1]) / 2

    @property
    def connected(self) -> bool:
        """Whether the barrier is below 0.02; never where a network on the line has no finite loss.

        >>> Barrier((0.0, 1.0), (0.9, 0.9), (float("nan"), float("nan"))).connected
        False
        """
        return self.barrier < STABLE and all(map(math.isfinite, self.losses))


def barrier(
    a: nn.Module,
    b: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    points: int = 30,
    statistics: Iterable[Tensor] | None = None,
) -> Barrier:
    """Error and loss of ``(1 - x) a + x b`` for x from 0 to 1 (Frankle et al. 2020, 1912.05671: 30 places).

    Args:
        a, b: networks of one architecture, both on one device; neither is touched.
        loader: batches of (inputs, targets) to be judged on, the training or the test set; read once a place, and taken to the device.
        points: how many places, the ends among them, from 2.
        statistics: batches of inputs from which batch-norm's running statistics are estimated anew at every place, the ends too; None
            mixes those of a and b like weights, which overstates the barrier.

    Raises:
        LehrError: the networks have other tensors, there are no batches or they can be read only once, or `points` is less than 2.

    >>> a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> data = [(torch.randn(8, 2), torch.zeros(8, dtype=torch.long))]
    >>> found = barrier(a, a, data, points=3)
    >>> found.alphas, found.barrier
    ((0.0, 0.5, 1.0), 0.0)
    """
    return barriers(a, b, {"": loader}, points=points, statistics=statistics)[""]


def barriers(
    a: nn.Module,
    b: nn.Module,
    loaders: Mapping[str, Iterable[tuple[Tensor, Tensor]]],
    *,
    points: int = 30,
    statistics: Iterable[Tensor] | None = None,
) -> dict[str, Barrier]:
    """`barrier` on several sets of data by name: the line is gone along once.

    Args:
        a, b, points, statistics: as `barrier` has them.
        loaders: batches of (inputs, targets) by name.

    Raises:
        LehrError: as `barrier` does.

    >>> a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> data = [(torch.randn(8, 2), torch.zeros(8, dtype=torch.long))]
    >>> found = barriers(a, b, {"train": data, "test": data}, points=3)
    >>> sorted(found), found["train"] == found["test"]
    (['test', 'train'], True)
    """
    require(points >= 2, f"points is {points}: give at least 2, the two networks")
    once = "statistics can be read only once: give a list of batches of inputs"
    require(not isinstance(statistics, Iterator), once)
    first, second = a.state_dict(), b.state_dict()
    shapes = [{name: tensor.shape for name, tensor in one.items()} for one in (first, second)]
    if shapes[0] != shapes[1]:
        differing = sorted(
            name for name in shapes[0].keys() | shapes[1].keys() if shapes[0].get(name) != shapes[1].get(name)
        )
        raise LehrError(f"the networks differ in {', '.join(differing[:3])}: give two of one architecture")
    between = copy.deepcopy(a).eval()
    alphas = [i / (points - 1) for i in range(points)]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in loaders}
    place = next((tensor.device for tensor in first.values()), torch.device("cpu"))
    for alpha in alphas:
        between.load_state_dict({name: _mixed(first[name], second[name], alpha) for name in first})
        if statistics is not None and has_batch_norm(between):
            # Dropout is on meanwhile: every line is the same, and nobody's draws are used up.
            with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
                torch.manual_seed(0)
                reestimate_batch_norm(between, (inputs.to(place) for inputs in statistics))
        for name, loader in loaders.items():
            found[name].append(_judged(between.eval(), loader, place))
    return {
        name: Barrier(tuple(alphas), tuple(e for e, _ in places), tuple(loss for _, loss in places))
        for name, places in found.items()
    }


def _mixed(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """Ends to the bit; what is no float, such as counters, is the first one's."""
    if not a.is_floating_point() or alpha == 0.0:
        return a
    return b if alpha == 1.0 else torch.lerp(a, b, alpha)


@torch.no_grad()
def _judged(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]], place: torch.device) -> tuple[float, float]:
    wrong = count = 0
    total = 0.0
    for inputs, targets in ((inputs.to(place), targets.to(place)) for inputs, targets in loader):
        logits = model(inputs)
        wrong += int((rows(logits).argmax(1) != targets.reshape(-1)).sum())
        total += float(task_loss(logits, targets)) * targets.numel()
        count += targets.numel()
    require(
        count > 0,
        "the loader is empty, or can be read only once: give a list of batches (inputs, targets), or a DataLoader",
    )
    return wrong / count, total / count
