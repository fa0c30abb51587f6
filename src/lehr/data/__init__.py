"""Real data sets, decoded once and kept as tensors, and the batches made of them."""

from lehr.data.batches import Batches, evaluation_batches
from lehr.data.dataset import Dataset, Examples, Split, Windows
from lehr.data.load import load

__all__ = ["Batches", "Dataset", "Examples", "Split", "Windows", "evaluation_batches", "load"]
