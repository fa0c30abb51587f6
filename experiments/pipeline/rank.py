"""The rank of the layers of a LeNet-300-100 over training, from ZerO and from the default: minutes on one core.

    python experiments/pipeline/rank.py --out experiments/pipeline/rank.json

What is measured is the update, ``W_t - W_0``, as well as W itself: from partial identities alone the update of a layer that widens would be stuck at the
dimension of its input (2110.12661, figure 3), which the Hadamard matrix is there to prevent.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from lehr.analysis.rank import ranks
from lehr.base.environment import environment
from lehr.data import Batches, load
from lehr.models import create, initialise

EPOCHS, RATE = 5, 0.1
AT = (0, 10, 100)  # steps that are looked at, besides the end of every epoch


def measured(model: nn.Module, first: nn.Module) -> dict[str, list[float]]:
    """Stable rank and rank of every layer, and of what has been added to it."""
    update = copy.deepcopy(model)
    with torch.no_grad():
        for moved, began in zip(update.parameters(), first.parameters(), strict=True):
            moved.sub_(began)
    found = {}
    for now, added in zip(ranks(model), ranks(update), strict=True):
        found[now.name] = [now.rank, now.stable, added.rank, added.stable]
    return found


def run(init: str, seed: int) -> dict[str, dict[str, list[float]]]:
    """The ranks at each of the steps that are looked at."""
    data = load("mnist")
    torch.manual_seed(seed)
    model = initialise(create("lenet_300_100", **data.sizes), init)
    first = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
    found, step = {"0": measured(model, first)}, 0
    for epoch in range(EPOCHS):
        for inputs, targets in Batches(data, 128, seed).epoch(epoch):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            step += 1
            if step in AT:
                found[str(step)] = measured(model, first)
        found[str(step)] = measured(model, first)
    return found


def main() -> None:
    """Print a table of the middle layer and write every number."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = {init: [run(init, seed) for seed in range(chosen.seeds)] for init in ("default", "zero")}
    print("| initialisation | step | layer | rank | stable rank | rank of the update | its stable rank |")
    print("|---|---:|---|---:|---:|---:|---:|")
    for init, runs in rows.items():
        for step in runs[0]:
            for name in runs[0][step]:
                columns = zip(*(one[step][name] for one in runs), strict=True)
                cells = " | ".join(f"{sum(column) / len(column):.1f}" for column in columns)
                print(f"| {init} | {step} | {name} | {cells} |")
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
