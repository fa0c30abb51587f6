"""The contract table: every method is a row, and every row passes every test in test_contract.py.

A new method adds one entry here; a registered method without one fails the build.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

import lehr
from lehr.masks import Mask

STEPS = 6

ROWS: dict[str, Callable[[Mask], lehr.Method]] = {
    "one-shot": lambda m: lehr.OneShot(m),
    "iterative": lambda m: lehr.Iterative(m, steps=STEPS, reselect_every=2),
    "iterative, fixed target": lambda m: lehr.Iterative(m, steps=STEPS, reselect_every=2, target="fixed"),
    "gradual": lambda m: lehr.Gradual(m, steps=STEPS, reselect_every=1),
    "gradual, by layer": lambda m: lehr.Gradual(m, steps=STEPS, reselect_every=1, scope="layer"),
    "random-annealing": lambda m: lehr.RandomAnnealing(m, steps=STEPS),
    "random-annealing, all weights": lambda m: lehr.RandomAnnealing(m, steps=STEPS, all_weights=True),
    "random-annealing, moving": lambda m: lehr.RandomAnnealing(m, steps=STEPS, target="moving"),
    "temperature-annealing": lambda m: lehr.TemperatureAnnealing(m, steps=STEPS),
    "temperature-annealing, all weights": lambda m: lehr.TemperatureAnnealing(m, steps=STEPS, all_weights=True),
    "temperature-annealing, moving": lambda m: lehr.TemperatureAnnealing(
        m, steps=STEPS, target="moving", reselect_every=2, schedule="log-density"
    ),
    "temperature-annealing, mean": lambda m: lehr.TemperatureAnnealing(m, steps=STEPS, realise="mean"),
    "temperature-annealing, filters": lambda m: lehr.TemperatureAnnealing(m, steps=STEPS),
    "random-annealing, filters, all weights": lambda m: lehr.RandomAnnealing(m, steps=STEPS, all_weights=True),
    "gradual, blocks": lambda m: lehr.Gradual(m, steps=STEPS, reselect_every=2),
    "temperature-annealing, moving, by layer, shared draws": lambda m: lehr.TemperatureAnnealing(
        m, steps=STEPS, target="moving", by_layer=True, redraw_every=2
    ),
    "stochastic-threshold": lambda m: lehr.StochasticThreshold(m, steps=STEPS, tau=1.0, reselect_every=2),
    "stochastic-threshold, filters": lambda m: lehr.StochasticThreshold(m, steps=STEPS, scope="layer"),
    "set": lambda m: lehr.SparseEvolution(m, steps=STEPS, reselect_every=2),
    "rigl": lambda m: lehr.RigL(m, steps=STEPS, reselect_every=2, drop=0.5),
    "ac-dc": lambda m: lehr.AlternatingCompression(m, steps=STEPS, cycles=2),
    "ac-dc, filters": lambda m: lehr.AlternatingCompression(m, steps=STEPS, cycles=3),
    "ac-dc, 1:2": lambda m: lehr.AlternatingCompression(m, steps=STEPS, cycles=1, scope="layer"),
    "temperature-annealing, 1:2, moving": lambda m: lehr.TemperatureAnnealing(m, steps=STEPS, target="moving"),
}

SELECTIONS = {
    "filters": {"sparsity": 0.5, "granularity": "filter"},
    "blocks": {"sparsity": 0.75, "granularity": "block:2x3", "scope": "layer"},
    "1:2": {"granularity": "1:2"},
}


def selection(row: str) -> dict[str, object]:
    """What `lehr.select` is asked for in a row: 90 % by layer, unless the row names a granularity."""
    return next((options for name, options in SELECTIONS.items() if name in row), {"sparsity": 0.9, "scope": "layer"})


OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "momentum": lambda n: torch.optim.SGD(n.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda n: torch.optim.SGD(n.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda n: torch.optim.Adam(n.parameters(), lr=0.01, weight_decay=0.01, foreach=False),
    "adamw": lambda n: torch.optim.AdamW(n.parameters(), lr=0.01, amsgrad=True),
    "fused": lambda n: torch.optim.AdamW(n.parameters(), lr=0.01, fused=True),
    "foreach": lambda n: torch.optim.Adam(n.parameters(), lr=0.01, weight_decay=0.01, foreach=True),
}


class Net(nn.Module):
    """Convolution, batch-norm, dropout and a head: 108 + 192 target weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(96, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.norm(self.conv(x)).relu().flatten(1)))


def build(row: str, optimizer: str = "momentum", seed: int = 0):
    """A fresh network, its optimizer, and the row's method."""
    torch.manual_seed(seed)
    net = Net()
    return net, OPTIMIZERS[optimizer](net), ROWS[row](lehr.select(net, **selection(row)))


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Learnable data: the class shifts the first channel."""
    generator = torch.Generator().manual_seed(step)
    y = torch.randint(0, 2, (16,), generator=generator)
    x = torch.randn(16, 2, 6, 6, generator=generator)
    x[:, 0] += 1.5 * (2 * y[:, None, None] - 1)
    return x, y


def train(called: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
    """An ordinary loop."""
    losses = []
    for step in steps:
        x, y = batch(step)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(called(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def state(net: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """All bits that training moves."""
    tensors = {f"model.{k}": v.clone() for k, v in net.state_dict().items()}
    for i, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v.clone() for k, v in values.items() if isinstance(v, torch.Tensor)}
    return tensors


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Equal to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
