"""What one draw of a training pass costs, in milliseconds for a million weights, against what a user would write instead.

    python benchmarks/draw.py --out benchmarks/draw.json

Each way leaves the drawn weights in place, the values at rest in a second tensor, and the draw as 0.0 and 1.0 in a third. They take
turns; medians and quartiles.

    lehr         one pass of lehr's compiled part: numbers that are a function of (seed, step, name, index)
    reference    the same numbers by NumPy and torch, as without a compiler
    bernoulli    torch.bernoulli on a tensor of probabilities, then a copy and a multiplication
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lehr.base.draws import Purpose, Stream
from lehr.base.environment import environment
from lehr.sparsify.chance import Chance
from lehr.sparsify.sample import Sample
from lehr.sparsify.shard import Shard

COUNT, REST, SPARSITY = 1_000_000, 0.3, 0.9


def ways() -> dict[str, Callable[[int], object]]:
    """Each draws for a step."""
    target = torch.rand(COUNT) < 1 - SPARSITY
    values, shadow, factor = torch.randn(COUNT), torch.empty(COUNT), torch.empty(COUNT)
    part, chance, done = Shard("w", 0, COUNT, (COUNT,)), Chance(1.0, REST), np.zeros(1, dtype=np.uint8)
    probability = chance.probability(target)

    def lehr(step: int) -> None:
        assert Sample(Stream(0, "w", Purpose.MASK, step), chance).draw(part, target, values, shadow, factor, done)

    def reference(step: int) -> None:
        factor.copy_(Sample(Stream(0, "w", Purpose.MASK, step), chance).chosen(part, target).view(torch.uint8))
        shadow.copy_(values)
        values.mul_(factor)

    def bernoulli(step: int) -> None:
        torch.bernoulli(probability, out=factor)
        shadow.copy_(values)
        values.mul_(factor)

    return {"lehr": lehr, "reference": reference, "bernoulli": bernoulli}


def main() -> None:
    """Print a line for each way, and write them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    drawers = ways()
    times: dict[str, list[float]] = {name: [] for name in drawers}
    for step in range(options.rounds):
        for name, draw in drawers.items():
            draw(step)  # finds the caches as the one before has left them
            begin = time.perf_counter()
            draw(step)
            times[name].append(1e9 * (time.perf_counter() - begin) / COUNT)
    rows = {name: [float(np.quantile(found, q)) for q in (0.5, 0.25, 0.75)] for name, found in times.items()}
    for name, (median, low, high) in rows.items():
        print(f"{name}: {median:.2f} ms for a million weights ({low:.2f} to {high:.2f})")
    if options.out is not None:
        told = {"environment": environment(), "threads": options.threads, "weights": COUNT, "ms_per_million": rows}
        options.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
