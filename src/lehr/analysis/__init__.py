"""What a network is worth and what it costs: quality, FLOPs, sensitivity, ranks, corrupted data; and what lies between two networks."""

from lehr.analysis.connectivity import Barrier, barrier
from lehr.analysis.rank import ranks
from lehr.analysis.stability import Distance, distance, overlap, travel

__all__ = ["Barrier", "Distance", "barrier", "distance", "overlap", "ranks", "travel"]
