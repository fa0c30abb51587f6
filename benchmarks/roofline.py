"""How near the engine is to what the processor can do, and where the rest goes.

    python benchmarks/roofline.py --out benchmarks/roofline.json

The roof: multiply-adds of sixteen lanes a second of the engine's own kernel where every input is in the first-level cache (one row of
very many weights, so that nothing else counts), on all threads. Each needs one load of sixteen inputs, so on processors that load
as many vectors as they multiply the two roofs are one. Then whole networks, operation by operation:

    multiplying   the time that their multiply-adds would take at the roof
    caches        what is saved when all inputs are read from a few lines (wrong numbers, right work)
    around        what is not a layer: halos, copies, pools, means, norms, attention
    rows          the rest: beginning and ending each row, short rows, tiles that do not fit
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine import NETWORKS, network

import lehr
from lehr.base.environment import environment
from lehr.runtime.lowering import Lowered
from lehr.runtime.native import native
from lehr.runtime.net import MANY, Net

ROWS = [("resnet18", 1), ("resnet18", 64), ("vgg16", 1), ("wrn_16_8", 1), ("vit_tiny", 1), ("linear_768_3072", 1)]
LAYERS = ("convolution", "dense")


def roof(threads: int) -> float:
    """Multiply-adds of sixteen lanes a second, the most of some tries."""
    count, channels = 20_000, 8 * threads
    told: dict[str, Any] = {
        "in": 0, "out": 64, "residual": -1, "channels": channels, "height": 1, "width": 16, "in_row": 16, "step": 1,
        "out_channel": 16, "out_row": 16, "residual_channel": 0, "residual_row": 0, "activation": 0, "tile_height": 1,
        "tile_width": 16, "parts": 1, "splits": channels, "bounds": np.arange(channels + 1, dtype=np.int64),
        "rows": (np.arange(channels + 1) * count).astype(np.int32), "offsets": np.zeros(channels * count, dtype=np.int32),
        "values": np.full(channels * count, 1e-9, dtype=np.float32), "bias": np.zeros(channels, dtype=np.float32),
    }  # fmt: skip
    kernels = native().best_kernels()
    tile = min(16, native().most_pixels(kernels, False))
    told |= {"tile_width": tile if tile in (13, 16) else min(8, tile)}
    program = native().Program(64 + 16 * channels, [1], [1], 16, threads, kernels, False)
    program.add("convolution", told)
    return channels * count * 16 / min(program.times(20)[0] for _ in range(10))


def multiplications(kind: str, told: dict[str, Any]) -> int:
    """Of sixteen lanes, in one operation."""
    pixels = told["height"] * told["width"]
    return int(pixels * (len(told["values"]) if kind == "convolution" else len(told["weights"])))


def seconds(net: Net, lowered: Lowered, samples: int, change: Callable[[dict[str, Any]], dict[str, Any]]) -> np.ndarray:
    """Of each operation, the median of some tries."""
    program = native().Program(
        lowered.lines, list(lowered.inputs), list(lowered.outputs), samples, net.threads, net.kernels, False
    )
    for line, words in lowered.constants:
        program.constant(line, words)
    for kind, told in lowered.operations:
        program.add(kind, change(told) if kind == "convolution" else told)
    return np.median([program.times(10) for _ in range(9)], axis=0)


def near(told: dict[str, Any]) -> dict[str, Any]:
    """The same work on inputs that are always in the first-level cache."""
    return told | {"offsets": told["offsets"] % 64}


def main() -> None:
    """Print the roof and a line for each network, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsity", default="0.9,0.95,0.98")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    most = roof(options.threads)
    print(f"roof: {most / 1e9:.2f} billion multiply-adds of sixteen lanes a second, {options.threads} threads")
    rows = []
    for name, batch in ROWS:
        for sparsity in map(float, options.sparsity.split(",")):
            fast = lehr.compile(
                network(name, sparsity), torch.randn(batch, *NETWORKS[name][1]), threads=options.threads
            )
            (net,) = [net for net in fast._nets if net is not None]
            _, lowered = net.program(batch >= MANY)
            samples = 16 // net.plans[batch >= MANY].patches
            real, close = (seconds(net, lowered, samples, change) for change in (dict, near))
            layer = np.array([kind in LAYERS for kind, _ in lowered.operations])
            work = sum(multiplications(kind, told) for kind, told in lowered.operations if kind in LAYERS)
            whole = float(real.sum())
            parts = {
                "multiplying": work / most,
                "caches": float((real - close)[layer].sum()),
                "around": float(real[~layer].sum()),
            }
            parts["rows"] = whole - sum(parts.values())
            shares = {part: value / whole for part, value in parts.items()}
            rows.append(
                {"network": name, "batch": batch, "sparsity": sparsity, "samples": samples, "seconds": whole} | shares
            )
            told = ", ".join(f"{part} {100 * share:.0f} %" for part, share in shares.items())
            print(
                f"{name} batch {batch} {100 * sparsity:g} %: a block of {samples} in {1e3 * whole:.3f} ms: {told}",
                flush=True,
            )
    if options.out is not None:
        told = {"environment": environment() | {"threads": str(options.threads)}, "roof": most, "rows": rows}
        options.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
