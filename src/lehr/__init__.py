"""lehr: find a small subnetwork in a PyTorch network and anneal the network down into it.

``import lehr`` is light: torch is imported when a name below is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "LehrError": "lehr.base.errors",
    "Mask": "lehr.masks",
    "select": "lehr.masks",
    "compile": "lehr.deploy.compile",
    "save": "lehr.deploy.pack",
    "load": "lehr.deploy.pack",
    "load_state_dict": "lehr.deploy.pack",
    "load_family": "lehr.deploy.family",
    "save_family": "lehr.deploy.family",
    "partition": "lehr.masks.partition",
    "Ensemble": "lehr.ensembles",
    "load_mask": "lehr.deploy.pack",
    "prune": "lehr.sparsify.prune",
    "attach": "lehr.sparsify.attach",
    "Attachment": "lehr.sparsify",
    "learn_mask": "lehr.sparsify",
    "MaskLearning": "lehr.sparsify",
    "Smoothing": "lehr.smoothing",
    "Method": "lehr.sparsify",
    "AlternatingCompression": "lehr.sparsify",
    "OneShot": "lehr.sparsify",
    "Iterative": "lehr.sparsify",
    "Gradual": "lehr.sparsify",
    "RandomAnnealing": "lehr.sparsify",
    "RigL": "lehr.sparsify",
    "SparseEvolution": "lehr.sparsify",
    "StochasticThreshold": "lehr.sparsify",
    "TemperatureAnnealing": "lehr.sparsify",
}

if TYPE_CHECKING:
    from lehr.base.errors import LehrError
    from lehr.deploy.compile import compile
    from lehr.deploy.family import load_family, save_family
    from lehr.deploy.pack import load, load_mask, load_state_dict, save
    from lehr.ensembles import Ensemble
    from lehr.masks import Mask, select
    from lehr.masks.partition import partition
    from lehr.smoothing import Smoothing
    from lehr.sparsify import (
        AlternatingCompression,
        Attachment,
        Gradual,
        Iterative,
        MaskLearning,
        Method,
        OneShot,
        RandomAnnealing,
        RigL,
        SparseEvolution,
        StochasticThreshold,
        TemperatureAnnealing,
        attach,
        learn_mask,
        prune,
    )

__all__ = [
    "AlternatingCompression",
    "Attachment",
    "Gradual",
    "Iterative",
    "Ensemble",
    "LehrError",
    "Mask",
    "MaskLearning",
    "Method",
    "OneShot",
    "RandomAnnealing",
    "RigL",
    "Smoothing",
    "SparseEvolution",
    "StochasticThreshold",
    "TemperatureAnnealing",
    "attach",
    "compile",
    "learn_mask",
    "load",
    "load_family",
    "load_mask",
    "load_state_dict",
    "partition",
    "prune",
    "save",
    "save_family",
    "select",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lehr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
