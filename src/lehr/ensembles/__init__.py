"""Several networks of one architecture as one."""

from lehr.ensembles.combine import COMBINE, mean_logits, mean_probabilities
from lehr.ensembles.stacked import Ensemble

__all__ = ["COMBINE", "Ensemble", "mean_logits", "mean_probabilities"]
