"""One file for each method."""

from lehr.sparsify.methods.gradual import Gradual
from lehr.sparsify.methods.iterative import Iterative
from lehr.sparsify.methods.one_shot import OneShot
from lehr.sparsify.methods.random_annealing import RandomAnnealing
from lehr.sparsify.methods.stochastic_threshold import StochasticThreshold
from lehr.sparsify.methods.temperature_annealing import TemperatureAnnealing

__all__ = ["Gradual", "Iterative", "OneShot", "RandomAnnealing", "StochasticThreshold", "TemperatureAnnealing"]
