"""Networks that are ensembles by themselves: `mimo-3:resnet20` and the like."""

from lehr.models.wrappers import batch_ensemble, dropout, mimo, tree
from lehr.models.wrappers.wrapper import SelfEnsemble, Wrapper, mean_probabilities, wrappers

__all__ = ["SelfEnsemble", "Wrapper", "batch_ensemble", "dropout", "mean_probabilities", "mimo", "tree", "wrappers"]
