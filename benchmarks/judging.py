"""How many examples to judge at a time on a CPU: what lies between layers should stay in its caches.

    python benchmarks/judging.py --out benchmarks/judging.json     # about four minutes on one core

CPU time for an example rather than the clock's, in turns, medians. `evaluation_size` goes by this.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from lehr.base.environment import environment
from lehr.models import create
from lehr.training.layout import input_layout

SIZES = (1, 2, 4, 16, 32, 64, 128, 256, 1000)
IMAGES = {
    "lenet_300_100": (1, 28, 28),
    "lenet5": (1, 28, 28),
    "resnet20, 16 x 16": (3, 16, 16),
    "resnet20": (3, 32, 32),
    "vgg16": (3, 32, 32),
    "wrn_16_8": (3, 32, 32),
    "vit_tiny": (3, 32, 32),
    "resnet18, 64 x 64": (3, 64, 64),
    "resnet50, 224 x 224": (3, 224, 224),
}
LONGEST = 64  # tokens of a text
ROUNDS = 3
BUDGET = 3.0  # seconds of a pass; what would take longer is not tried


def seconds(model: nn.Module, inputs: Tensor) -> float:
    """CPU time of one pass."""
    begin = time.process_time()
    with torch.inference_mode():
        model(inputs)
    return time.process_time() - begin


def inputs_of(name: str, size: int) -> Tensor:
    """Random examples."""
    return torch.randint(0, 100, (size, LONGEST)) if name == "text_encoder" else torch.randn(size, *IMAGES[name])


def network(name: str) -> nn.Module:
    """A built-in network, not trained."""
    if name == "text_encoder":
        return create(name, vocabulary=1000, context=LONGEST).eval()
    return create(name.partition(",")[0], num_classes=10, input_shape=IMAGES[name]).eval()


def main() -> None:
    """Print a line for each network and write all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for name in (*IMAGES, "text_encoder"):
        model = network(name)
        layout = input_layout(model, inputs_of(name, 2))
        one = min(seconds(model, inputs_of(name, 1)) for _ in range(3))
        sizes = [size for size in SIZES if size * one < BUDGET] or [1]
        taken: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(ROUNDS + 1):
            for size in sizes:
                inputs = inputs_of(name, size)
                inputs = inputs.to(memory_format=layout) if inputs.ndim == 4 else inputs
                repeats = max(1, 32 // size)
                taken[size].append(sum(seconds(model, inputs) for _ in range(repeats)) / (size * repeats))
        middle = {size: 1e3 * median(times[1:]) for size, times in taken.items()}
        rows.append({"network": name, "ms_for_an_example": middle})
        print(f"{name:20} " + "  ".join(f"{size}: {ms:.4g}" for size, ms in middle.items()), flush=True)
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
