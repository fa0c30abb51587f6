"""The target subnetwork: what a `Mask` is, which parameters it covers, and how one is chosen."""

from lehr.masks.mask import Mask
from lehr.masks.selection import select
from lehr.masks.targets import target_parameters

__all__ = ["Mask", "select", "target_parameters"]
