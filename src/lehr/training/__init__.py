"""The loop: learning rates, optimizers, evaluation, checkpoints, progress."""

from lehr.training.evaluation import Scores, evaluate
from lehr.training.loop import Outcome, fit

__all__ = ["Outcome", "Scores", "evaluate", "fit"]
