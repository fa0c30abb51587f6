"""Reading and running what `lehr pack` wrote: NumPy and native code, no torch."""
