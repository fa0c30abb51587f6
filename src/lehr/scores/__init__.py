"""How important is each weight? One pure function to a file.

A score is ``(model, parameters, seed) -> {name: importance}``, or with ``batches`` too: higher is kept. It changes nothing.
"""

from lehr.scores.grasp import grasp
from lehr.scores.learned import learned_mask
from lehr.scores.magnitude import magnitude
from lehr.scores.random import random
from lehr.scores.registry import Batches, DataScore, Score, scores
from lehr.scores.snip import snip
from lehr.scores.synflow import synflow

__all__ = ["Batches", "DataScore", "Score", "grasp", "learned_mask", "magnitude", "random", "scores", "snip", "synflow"]
