"""Whole networks on lehr's engine beside other engines: one input after the other, in turns, medians.

    python benchmarks/engine.py --out benchmarks/engine.json            # all rows, about ten minutes
    python benchmarks/engine.py --only resnet18 --sparsity 0.95 --against torch,onnxruntime

Weights are as initialised and batch-norm statistics random; masks are uniform random ones of every layer but the first and the
last, so that times depend on the sparsity alone. Every engine's outputs are checked against torch's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import nn

import lehr
from lehr.base.environment import environment
from lehr.deploy.race import race
from lehr.models import create

NETWORKS = {  # name: sizes, shape of an input, batches
    "resnet18": ({"num_classes": 10}, (3, 32, 32), (1, 64)),
    "vit_tiny": ({"num_classes": 10, "input_shape": (3, 32, 32)}, (3, 32, 32), (1,)),
    "vgg16": ({"num_classes": 10, "input_shape": (3, 32, 32)}, (3, 32, 32), (1,)),
    "wrn_16_8": ({"num_classes": 10}, (3, 32, 32), (1,)),
    "resnet50": ({"num_classes": 1000, "input_shape": (3, 224, 224)}, (3, 224, 224), (1,)),
    "lenet_300_100": ({"num_classes": 10, "input_shape": (1, 28, 28)}, (1, 28, 28), (1, 256)),
    "linear_768_3072": ({}, (197, 768), (1,)),
}


def network(name: str, sparsity: float) -> nn.Module:
    """A pruned network, ready to run."""
    torch.manual_seed(0)
    model = nn.Linear(768, 3072) if name.startswith("linear") else create(name, **NETWORKS[name][0])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    mask = lehr.select(model, sparsity, score="random", scope="layer")
    ends = (
        [next(iter(mask)), list(mask)[-1]] if len(mask) > 4 else []
    )  # usually left dense: few weights, or many pixels each
    whole = {name: torch.ones_like(kept) if name in ends else kept for name, kept in mask.items()}
    lehr.Mask(whole).apply_(model)
    return model.eval()


def main() -> None:
    """Print a line for each row and write all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", help="one network")
    parser.add_argument("--sparsity", default="0.9,0.95,0.98")
    parser.add_argument("--against", default="torch,torch.compile,onnxruntime,openvino")
    parser.add_argument("--dtype", default="fp32", help="fp32 or bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for name, (_, shape, batches) in NETWORKS.items():
        if options.only not in (None, name):
            continue
        for sparsity in map(float, options.sparsity.split(",")):
            for batch in batches:
                found = race(
                    network(name, sparsity), torch.randn(batch, *shape), options.against.split(","),
                    threads=options.threads, seconds=options.seconds, dtype=options.dtype,
                )  # fmt: skip
                row = {
                    "network": name,
                    "dtype": options.dtype,
                    "sparsity": sparsity,
                    "batch": batch,
                    "ratio": found.ratio,
                }
                row |= {lap.engine: [1e3 * lap.median, 1e3 * lap.low, 1e3 * lap.high] for lap in found.laps}
                rows.append(row)
                times = ", ".join(f"{lap.engine} {1e3 * lap.median:.3f}" for lap in found.laps)
                print(f"{name} batch {batch} {100 * sparsity:g} %: {times} ms; {found.ratio:.2f} x", flush=True)
    if options.out is not None:
        about = environment() | {"threads": str(options.threads), "engine": found.report.engine}
        options.out.write_text(json.dumps({"environment": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
