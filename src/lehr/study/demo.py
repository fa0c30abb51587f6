"""`demo`: the main job on real scans, in about a minute."""

from __future__ import annotations

from lehr.study.compare import comparison

# Every method of the library, toward the target as published and toward one that moves.
METHODS = (
    "one-shot",
    "iterative",
    "gradual",
    "random-annealing",
    "temperature-annealing",
    "temperature-annealing:target=moving",
)

DEMO = comparison(
    METHODS,
    data="digits",
    model="lenet_300_100",
    sparsity=(0.9, 0.98),
    seeds=3,
    epochs=20,
    tune_epochs=20,
    lr=0.1,
    tune_lr=(0.1,),
    batch_size=64,
)
"""LeNet-300-100 on scikit-learn's 1,797 scanned digits: trained, pruned by magnitude, tuned."""
