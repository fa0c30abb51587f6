"""M children of one network, each with its own 1/M of the weights, beside that one dense network: time together, by M.

    python benchmarks/family.py --out benchmarks/family.json     # about two minutes on two cores

Every way in turn, medians; a ratio of 1 would mean that the ensemble costs what one dense network does. `share` says where that time goes
on one thread, as parts of the dense network's: layers with weights, and all else. Speed does not go by what the weights are, so they are those of
the initialisation, dealt at random.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import lehr
from lehr.base.environment import environment
from lehr.models import create
from lehr.recipes.ensemble_bench import race
from lehr.runtime.lowering.layout import LANES
from lehr.runtime.lowering.steps import Machine
from lehr.runtime.net import MANY

NETWORKS = {"lenet5": (1, 28, 28), "resnet20": (3, 32, 32), "resnet18": (3, 32, 32)}
COUNTS = (2, 4, 8)
BATCHES = (1, 32)
ROUNDS = 7


def measured(name: str, count: int, batch: int, seconds: float) -> dict[str, Any]:
    """One row: a network dealt into so many children, asked for so many examples at once."""
    torch.manual_seed(0)
    shape = NETWORKS[name]
    dense = create(name, num_classes=10, input_shape=shape).eval()
    masks = lehr.partition(dense, count)
    children = [copy.deepcopy(dense) for _ in masks]
    for child, mask in zip(children, masks, strict=True):
        mask.apply_(child)
    inputs = torch.randn(batch, *shape)
    found = race(dense, children, inputs, seconds=seconds)
    (layers, rest), *others = (spent(network, inputs) for network in (dense, *children))
    whole = layers + rest
    share = {"layers": sum(own for own, _ in others) / whole, "rest": sum(own for _, own in others) / whole}
    return {"network": name, "members": count, **found, "share": share}


def spent(network: nn.Module, inputs: Tensor) -> tuple[float, float]:
    """Seconds that the engine takes for convolutions and linear layers, and for all else, on one thread; the best of a few."""
    net, many = lehr.compile(network, inputs, threads=1).net, len(inputs) >= MANY
    assert net is not None
    program, lowered = net.program(many)
    times = [min(of_one) for of_one in zip(*(program.times(20) for _ in range(ROUNDS)), strict=True)]
    weighs = [kind in ("convolution", "dense") for kind, _ in lowered.operations]
    layers = sum(time for time, own in zip(times, weighs, strict=True) if own)
    samples = Machine(net.plans[many].patches, LANES[net.dtype], 1, net.most).samples  # that a program takes at once
    return layers / samples, (sum(times) - layers) / samples


def main() -> None:
    """Print a line for each row and write all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", default="lenet5,resnet20", help="of lenet5, resnet20, resnet18 (ten minutes)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of measuring for each way")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    rows = []
    for name in chosen.networks.split(","):
        for batch in BATCHES:
            for count in COUNTS:
                row = measured(name, count, batch, chosen.seconds)
                rows.append(row)
                told = " + ".join(f"{part} {share:.2f}" for part, share in row["share"].items())
                times = ", ".join(f"{way} {ms:.2f}" for way, ms in row["milliseconds"].items())
                print(
                    f"{name:10} M {count} batch {batch:3}  x {row['ratio']:.2f}, on one thread {told}   ({times})",
                    flush=True,
                )
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
