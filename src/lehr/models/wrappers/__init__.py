"""Networks that are ensembles by themselves: `mimo-3:resnet20` and the like."""

from lehr.models.wrappers import batch_ensemble, dropout, mimo, tree
from lehr.models.wrappers.wrapper import Wrapper, wrappers

__all__ = ["Wrapper", "batch_ensemble", "dropout", "mimo", "tree", "wrappers"]
