"""Several networks of one architecture as one."""

from lehr.ensembles.combine import COMBINE, mean_logits
from lehr.ensembles.stacked import Ensemble
from lehr.models.wrappers import mean_probabilities

__all__ = ["COMBINE", "Ensemble", "mean_logits", "mean_probabilities"]
