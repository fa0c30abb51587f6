"""One file for each method."""

from lehr.sparsify.methods.alternating import AlternatingCompression
from lehr.sparsify.methods.gradual import Gradual
from lehr.sparsify.methods.iterative import Iterative
from lehr.sparsify.methods.one_shot import OneShot
from lehr.sparsify.methods.random_annealing import RandomAnnealing
from lehr.sparsify.methods.rigl import RigL
from lehr.sparsify.methods.sparse_evolution import SparseEvolution
from lehr.sparsify.methods.stochastic_threshold import StochasticThreshold
from lehr.sparsify.methods.temperature_annealing import TemperatureAnnealing

__all__ = [
    "AlternatingCompression",
    "Gradual",
    "Iterative",
    "OneShot",
    "RandomAnnealing",
    "RigL",
    "SparseEvolution",
    "StochasticThreshold",
    "TemperatureAnnealing",
]
