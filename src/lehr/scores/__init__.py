"""How important is each weight? One pure function to a file.

A score is ``(model, parameters, seed) -> {name: importance}``: higher is kept. It changes nothing.
"""

from lehr.scores.registry import Score, scores
from lehr.scores import magnitude, random  # isort: skip  (each registers itself)

__all__ = ["Score", "magnitude", "random", "scores"]
