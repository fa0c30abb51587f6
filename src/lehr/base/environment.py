"""Where a result was measured: a number without it is worth nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def environment() -> dict[str, str]:
    """Processor, cores, operating system and the versions of what computes.

    >>> sorted(environment())
    ['cores', 'lehr', 'numpy', 'processor', 'python', 'system', 'torch']
    """
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        "lehr": version("lehr"),
    }


def cores() -> int:
    """How many cores this process may use.

    >>> cores() >= 1
    True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name as the system has it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
