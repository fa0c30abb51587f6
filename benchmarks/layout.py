"""Inputs that lie channels last beside contiguous ones: a training step and judging, by how wide the convolutions are.

    python benchmarks/layout.py --out benchmarks/layout.json     # about three minutes on one core

CPU time rather than the clock's, in turns, medians; the ratio below 1 is in favour of channels last. `input_layout` goes by this.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lehr.base.environment import environment
from lehr.models import create

BATCHES = {
    "lenet5": 128,
    "resnet20": 128,
    "experiments/pipeline/narrow.py:vgg16": 128,
    "vgg16": 32,
    "resnet18": 16,
    "wrn_16_8": 8,
}
WAYS = ("step, fp32", "step, bf16", "judging, fp32")
ROUNDS = 7


def seconds(model: nn.Module, inputs: Tensor, targets: Tensor, way: str) -> float:
    """CPU time of one pass."""
    training = way.startswith("step")
    model.train(training)
    begin = time.process_time()
    with torch.set_grad_enabled(training):
        with torch.autocast("cpu", torch.bfloat16, enabled=way.endswith("bf16")):
            loss = F.cross_entropy(model(inputs), targets)
        if training:
            loss.backward()
    model.zero_grad()
    return time.process_time() - begin


def main() -> None:
    """Print a line for each network and write all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for name, batch in BATCHES.items():
        shape = (1, 28, 28) if name == "lenet5" else (3, 32, 32)
        model = create(name, num_classes=10, input_shape=shape)
        usual, targets = torch.randn(batch, *shape), torch.randint(0, 10, (batch,))
        layouts = {"contiguous": usual, "channels last": usual.to(memory_format=torch.channels_last)}
        taken: dict[tuple[str, str], list[float]] = {(way, layout): [] for way in WAYS for layout in layouts}
        for _ in range(ROUNDS + 1):
            for way in WAYS:
                for layout, inputs in layouts.items():
                    taken[way, layout].append(seconds(model, inputs, targets, way))
        middle = {key: median(times[1:]) for key, times in taken.items()}
        widest = max(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d))
        ratios = {way: middle[way, "channels last"] / middle[way, "contiguous"] for way in WAYS}
        rows.append({"network": name, "batch": batch, "widest": widest, "ratio": ratios, "contiguous_s": {way: middle[way, "contiguous"] for way in WAYS}})  # fmt: skip
        print(f"{name:40} {widest:4}  " + "  ".join(f"{way} {ratio:.2f}" for way, ratio in ratios.items()), flush=True)
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
