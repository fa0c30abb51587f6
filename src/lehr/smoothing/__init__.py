"""Making the loss of a sparse network smooth for a while: soft labels, soft activations, soft skips."""

from lehr.smoothing.activations import soft_relu
from lehr.smoothing.skips import skip
from lehr.smoothing.smooth import PARTS, Smoothing

__all__ = ["PARTS", "Smoothing", "skip", "soft_relu"]
