"""ResNet-18 on lehr's engine with masks from real pruning: trained and gradually pruned on a part of CIFAR-10, then timed.

    python benchmarks/pruned.py --out benchmarks/pruned.json     # about five minutes

Masks chosen by magnitude over the whole network leave small layers denser and large ones sparser than random masks of one
density. Speed does not ask for accuracy, so short runs will do.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from lehr.base.environment import environment
from lehr.recipes.bench import BenchSettings, bench
from lehr.recipes.train import train, train_settings
from lehr.recipes.tune import tune, tune_settings

EXAMPLES, EPOCHS = 4000, 1
AGAINST = ("torch", "onnxruntime", "openvino")


def main() -> None:
    """Print a line for each row and write all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    rows = []
    with TemporaryDirectory() as folder:
        dense = Path(folder) / "dense"
        values = {"data": "cifar10", "model": "resnet18", "limit": EXAMPLES, "epochs": EPOCHS, "precision": "bf16"}
        train(train_settings(None, values), dense)
        for sparsity in (0.9, 0.95, 0.98):
            run = Path(folder) / f"{sparsity}"
            tune(tune_settings(dense, {"method": "gradual", "sparsity": sparsity, "epochs": EPOCHS}), run)
            for batch in (1, 64):
                asked = BenchSettings(
                    run=str(run), against=AGAINST, batch=batch, threads=chosen.threads, seconds=chosen.seconds
                )
                found = bench(asked)
                times = {row["engine"]: [row["milliseconds"], row["low"], row["high"]] for row in found["engines"]}
                rows.append({"sparsity": sparsity, "batch": batch, "ratio": found["ratio"], **times})
                told = ", ".join(f"{name} {ms:.3f}" for name, (ms, *_) in times.items())
                print(f"{100 * sparsity:.0f} %, batch {batch}: {told} ms; {found['ratio']:.2f} x", flush=True)
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
