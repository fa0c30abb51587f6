"""From a graph to operations on an arena: layouts, halos, places."""

from lehr.runtime.lowering import layers, moves, pointwise, pooling, tokens  # their rules
from lehr.runtime.lowering.lower import Lowered, lower

__all__ = ["Lowered", "layers", "lower", "moves", "pointwise", "pooling", "tokens"]
