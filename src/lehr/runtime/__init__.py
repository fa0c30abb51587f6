"""Reading and running what `lehr pack` wrote: NumPy and native code, no torch."""

from lehr.runtime.net import Net, load
from lehr.runtime.nets import Nets, load_nets

__all__ = ["Net", "Nets", "load", "load_nets"]
