"""How a mask that is learned from ZerO collapses, and what cures it: minutes on one core.

    python experiments/pipeline/collapse.py --out experiments/pipeline/collapse.json

A small network on scikit-learn's digits. Weights that ZerO begins with 0 give their mask no gradient of the task, ``w dL/d(wm) = 0``,
and the gradient that would move them is multiplied by m. Where the weights' learning rate warms up and the mask's does not, the pressure
has closed the mask before the weights have moved: what is left is a part of ZerO's own nonzeros.
"""

from __future__ import annotations

import argparse
import json
import statistics
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from lehr.base.environment import environment
from lehr.data import load
from lehr.models import initialise
from lehr.sparsify import MaskLearning, learn_mask

WIDTHS = (64, 32, 32, 10)
STEPS, WARM, RATE, BATCH = 600, 300, 0.05, 64
MASK = {"sparsity": 1.0, "lr": 1.0}
ROWS = {
    "no mask": None,
    "mask": {},
    "mask, resting for a quarter": {"warm_up": STEPS // 4},
    "mask, pressure growing for a half": {"ramp": STEPS // 2},
    "mask, resting, then growing": {"warm_up": STEPS // 4, "ramp": STEPS // 2},
    "mask, mean of a layer held at 0.3": {"floor": 0.3},
    "mask, straight through": {"straight_through": True},
}


def run(init: str, how: dict[str, float] | None, seed: int, steps: int = STEPS) -> dict[str, float]:
    """Accuracy on the test set, the share of ``m > 1/2``, and that among weights that began as exact zeros."""
    data = load("digits")
    torch.manual_seed(seed)
    model = nn.Sequential(*[part for a, b in pairwise(WIDTHS) for part in (nn.Linear(a, b), nn.ReLU())][:-1])
    initialise(model, init)
    began = {name: p.detach() == 0 for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
    inputs, targets = data.prepare.judged(data.train.inputs).flatten(1), data.train.targets
    generator = torch.Generator().manual_seed(seed)

    def train() -> None:
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1.0, (step + 1) / WARM)
            batch = torch.randint(0, len(targets), (BATCH,), generator=generator)
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()

    found = {"density": 1.0, "of zeros": float("nan")}
    if how is None:
        train()
    else:
        with learn_mask(model, optimizer, MaskLearning(**(MASK | how))) as learned:
            train()
        kept = {name: m > 0.5 for name, m in learned.values.items()}
        size = sum(keep.numel() for keep in kept.values())
        zeros = sum(int(began[name].sum()) for name in kept)
        found["density"] = sum(int(keep.sum()) for keep in kept.values()) / size
        found["of zeros"] = sum(int((keep & began[name]).sum()) for name, keep in kept.items()) / max(1, zeros)
    with torch.no_grad():
        judged = model(data.prepare.judged(data.test.inputs).flatten(1)).argmax(1)
    return {"accuracy": float((judged == data.test.targets).float().mean()), **found}


def main() -> None:
    """Print a table and write every number."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print("| initialisation | mask | accuracy % | kept % | kept of exact zeros % |\n|---|---|---:|---:|---:|")
    for init in ("default", "zero"):
        for name, how in ROWS.items():
            runs = [run(init, how, seed) for seed in range(chosen.seeds)]
            rows.append({"init": init, "row": name, "runs": runs})
            cells = []
            for key in ("accuracy", "density", "of zeros"):
                values = [100 * one[key] for one in runs]
                empty = values[0] != values[0] or (key == "of zeros" and init == "default")
                cells.append("" if empty else f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}")
            print(f"| {'ZerO' if init == 'zero' else init} | {name} | {' | '.join(cells)} |", flush=True)
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
