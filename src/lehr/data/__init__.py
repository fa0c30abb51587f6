"""Real data sets, decoded once and kept as tensors, and the batches made of them."""

from lehr.data.batches import Batches, evaluation_batches
from lehr.data.dataset import Dataset, Split
from lehr.data.load import load

__all__ = ["Batches", "Dataset", "Split", "evaluation_batches", "load"]
