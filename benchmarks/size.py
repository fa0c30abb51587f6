"""How small a file is: bytes of `lehr.save` beside the entropy bound and the dense network.

    python benchmarks/size.py

Weights are as initialised, masks of magnitude by layer, so that only the sparsity and the shapes matter.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import lehr
from lehr.models import create

IMAGES = {"num_classes": 10, "input_shape": (3, 32, 32)}
NETWORKS = {"resnet18": {"num_classes": 10}, "vit_tiny": IMAGES, "vgg16": IMAGES}


def main() -> None:
    """Print a line for each network, sparsity and kind of values."""
    with tempfile.TemporaryDirectory() as folder:
        for name, sizes in NETWORKS.items():
            for sparsity in (0.9, 0.95, 0.98, 0.99):
                model = create(name, **sizes)
                mask = lehr.prune(model, sparsity, scope="layer")
                for values in ("fp32", "int8"):
                    saved = lehr.save(model, Path(folder) / "f.lehr", mask=mask, values=values)
                    over = 100 * (saved.size / saved.bound - 1)
                    print(
                        f"{name} {100 * sparsity:g} % {values}: {saved.size:,} bytes, {over:.2f} % above the bound, "
                        f"{saved.dense / saved.size:.1f} times smaller than dense ({saved.dense:,})"
                    )


if __name__ == "__main__":
    main()
