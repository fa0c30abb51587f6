"""Reading and running what `lehr pack` wrote: NumPy and native code, no torch."""

from lehr.runtime.net import Net, load

__all__ = ["Net", "load"]
