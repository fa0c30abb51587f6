"""What an annealed training step costs, against the dense step and what a user would write instead.

    python benchmarks/step_overhead.py [--rounds 9] [--quick]

Every variant trains its own copy of the same network on the same batch. The variants take turns, step by
step, and each ratio is the median over rounds of (variant / dense) within a round, so that a machine that
slows down slows both. Variants:

    dense        the plain step
    lehr         temperature annealing, tau 0.5, a fresh draw each pass
    lehr fixed   one-shot, exact zeros kept (after annealing, or the whole of one-shot tuning)
    prune        torch.nn.utils.prune with a fixed mask
    bernoulli    a torch parametrization that multiplies by torch.bernoulli(P)
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.utils import parametrize, prune

import lehr
from lehr.base.environment import environment
from lehr.models import create

SPARSITY, TAU = 0.9, 0.5


class Bernoulli(nn.Module):
    """W times a fresh Bernoulli mask, as one would first write it."""

    def __init__(self, probability: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("probability", probability)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * torch.bernoulli(self.probability)


def dense(net: nn.Module) -> None:
    """Nothing is done to it."""


def with_prune(net: nn.Module) -> None:
    """torch.nn.utils.prune with the mask of a global selection."""
    mask = lehr.select(net, SPARSITY, scope="layer")
    for name, keep in mask.items():
        prune.custom_from_mask(net.get_submodule(name.removesuffix(".weight")), "weight", keep)


def with_bernoulli(net: nn.Module) -> None:
    """A parametrization on each masked weight."""
    mask = lehr.select(net, SPARSITY, scope="layer")
    for name, keep in mask.items():
        probability = torch.where(keep, 1.0, TAU)
        parametrize.register_parametrization(
            net.get_submodule(name.removesuffix(".weight")), "weight", Bernoulli(probability)
        )


def stepper(model: str, images: torch.Tensor, labels: torch.Tensor, variant: str, bf16: bool) -> Callable[[], float]:
    """A function that takes one training step and returns its seconds."""
    torch.manual_seed(0)
    net = create(model, num_classes=10, input_shape=tuple(images.shape[1:]))
    {"prune": with_prune, "bernoulli": with_bernoulli}.get(variant, dense)(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    if variant.startswith("lehr"):
        mask = lehr.select(net, SPARSITY, scope="layer")
        method = (
            lehr.OneShot(mask) if variant == "lehr fixed" else lehr.TemperatureAnnealing(mask, tau=TAU, steps=10**6)
        )
        lehr.attach(net, optimizer, method).__enter__()

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        return time.perf_counter() - start

    return step


VARIANTS = ("dense", "lehr", "lehr fixed", "prune", "bernoulli")
CASES = (
    ("ResNet-18, batch 128, fp32", "resnet18", 128, (3, 32, 32), False, 1),
    ("ResNet-18, batch 128, bf16", "resnet18", 128, (3, 32, 32), True, 1),
    ("LeNet-300-100, batch 256, fp32", "lenet_300_100", 256, (1, 28, 28), False, 40),
    ("LeNet-5, batch 256, fp32", "lenet5", 256, (1, 28, 28), False, 5),
)


def measure(
    model: str, batch: int, shape: tuple[int, ...], bf16: bool, repeat: int, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each variant in each round (the median of `repeat` steps for small networks)."""
    images, labels = torch.randn(batch, *shape), torch.randint(0, 10, (batch,))
    steppers = {variant: stepper(model, images, labels, variant, bf16) for variant in VARIANTS}
    for step in steppers.values():
        for _ in range(2):
            step()
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(rounds):
        order = VARIANTS[number % len(VARIANTS) :] + VARIANTS[: number % len(VARIANTS)]
        for variant in order:
            times[variant].append(statistics.median(steppers[variant]() for _ in range(repeat)))
    return times


def main() -> None:
    """Measure, print the table, and write it beside this file as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two rounds and no ResNet, to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = Table(title="one training step, against the dense one", title_justify="left")
    table.add_column("case")
    table.add_column("dense, ms", justify="right")
    for variant in VARIANTS[1:]:
        table.add_column(variant, justify="right")
    results = []
    for name, model, batch, shape, bf16, repeat in CASES:
        if options.quick and model == "resnet18":
            continue
        rounds = 2 if options.quick else options.rounds
        times = measure(model, batch, shape, bf16, repeat, rounds)
        ratios = {
            variant: statistics.median(t / d for t, d in zip(times[variant], times["dense"], strict=True))
            for variant in VARIANTS[1:]
        }
        base = 1000 * statistics.median(times["dense"])
        table.add_row(name, f"{base:.1f}", *(f"{ratio:.3f}" for ratio in ratios.values()))
        results.append({"case": name, "dense_ms": base, "ratios": ratios, "rounds": rounds})
    Console().print(table)
    if not options.quick:
        out = {
            "environment": environment(),
            "threads": options.threads,
            "sparsity": SPARSITY,
            "tau": TAU,
            "cases": results,
        }
        Path(__file__).with_suffix(".json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
