"""The engine that applies probabilities to a network, and the methods that say what they are."""

from lehr.sparsify.attach import Attachment, attach
from lehr.sparsify.learned import MaskLearning, learn_mask
from lehr.sparsify.method import Method, methods
from lehr.sparsify.methods import (
    AlternatingCompression,
    Gradual,
    Iterative,
    OneShot,
    RandomAnnealing,
    RigL,
    SparseEvolution,
    StochasticThreshold,
    TemperatureAnnealing,
)
from lehr.sparsify.prune import prune

__all__ = [
    "AlternatingCompression",
    "Attachment",
    "Gradual",
    "Iterative",
    "MaskLearning",
    "Method",
    "OneShot",
    "RandomAnnealing",
    "RigL",
    "SparseEvolution",
    "StochasticThreshold",
    "TemperatureAnnealing",
    "attach",
    "learn_mask",
    "methods",
    "prune",
]
