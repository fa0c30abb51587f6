"""ResNet-18 on lehr's engine with masks from real pruning: trained and gradually pruned on CIFAR-10, then timed.

    python benchmarks/pruned.py --out benchmarks/pruned.json     # about five minutes

Masks chosen by magnitude over the whole network leave small layers denser and large ones sparser than random masks of one
density. Speed does not ask for accuracy, so that some dozen steps of training will do.
"""

from __future__ import annotations

import argparse
import copy
import json
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import lehr
from lehr.analysis.cost import cost
from lehr.base.environment import environment
from lehr.data import Batches, load
from lehr.deploy.race import race
from lehr.models import create

DENSE, SPARSE, BATCH = 80, 60, 64  # steps, steps, images


def train(model: nn.Module, steps: int, sparsity: float | None) -> None:
    """So many steps, gradually pruned over the first two thirds of them."""
    data = load("cifar10")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    method = None if sparsity is None else lehr.Gradual(lehr.select(model, sparsity), steps=2 * steps // 3)
    model.train()
    with nullcontext() if method is None else lehr.attach(model, optimizer, method):
        for inputs, targets in islice(Batches(data, BATCH, 0).epoch(0), steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
    model.eval()


def main() -> None:
    """Print a line for each row and write all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", default="torch,onnxruntime,openvino")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    dense = create("resnet18", num_classes=10)
    train(dense, DENSE, None)
    rows = []
    for sparsity in (0.9, 0.95, 0.98):
        model = copy.deepcopy(dense)
        train(model, SPARSE, sparsity)
        zeros = lehr.Mask.from_zeros(model)
        spent = cost(
            model, torch.zeros(1, 3, 32, 32), lehr.Mask({name: zeros[name] for name in lehr.select(model, sparsity)})
        )
        left = spent.kept / spent.dense  # of the multiply-adds
        for batch in (1, 64):
            inputs = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0))
            found = race(
                model, inputs, tuple(chosen.against.split(",")), threads=chosen.threads, seconds=chosen.seconds
            )
            times = {lap.engine: [1e3 * lap.median, 1e3 * lap.low, 1e3 * lap.high] for lap in found.laps}
            rows.append({"sparsity": sparsity, "batch": batch, "ratio": found.ratio, "multiply_adds": left, **times})
            told = ", ".join(f"{name} {ms:.3f}" for name, (ms, *_) in times.items())
            print(f"{100 * sparsity:.0f} %, batch {batch}: {told} ms; {found.ratio:.2f} x", flush=True)
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
