"""M children of one network, each with its own 1/M of the weights, beside that one dense network: time together, by M.

    python benchmarks/family.py --out benchmarks/family.json     # about two minutes on two cores

Every way in turn, medians; a ratio of 1 would mean that the ensemble costs what one dense network does. Speed does not go by what the weights are, so they are
those of the initialisation, dealt at random.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch

import lehr
from lehr.base.environment import environment
from lehr.models import create
from lehr.recipes.ensemble_bench import race

NETWORKS = {"lenet5": (1, 28, 28), "resnet20": (3, 32, 32), "resnet18": (3, 32, 32)}
COUNTS = (2, 4, 8)
BATCHES = (1, 32)


def measured(name: str, count: int, batch: int, seconds: float) -> dict[str, Any]:
    """One row: a network dealt into so many children, asked for so many examples at once."""
    torch.manual_seed(0)
    shape = NETWORKS[name]
    dense = create(name, num_classes=10, input_shape=shape).eval()
    masks = lehr.partition(dense, count)
    children = [copy.deepcopy(dense) for _ in masks]
    for child, mask in zip(children, masks, strict=True):
        mask.apply_(child)
    found = race(dense, children, torch.randn(batch, *shape), seconds=seconds)
    return {"network": name, "members": count, **found}


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
                times = ", ".join(f"{way} {ms:.2f}" for way, ms in row["milliseconds"].items())
                print(f"{name:10} M {count} batch {batch:3}  x {row['ratio']:.2f}   ({times})", flush=True)
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
