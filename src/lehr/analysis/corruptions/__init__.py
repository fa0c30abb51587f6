"""Corrupted images: the 19 corruptions of CIFAR-10-C at five severities, made here or read from the published files.

Each is a pure function of images, severity and random numbers; every image has random numbers of its own.
Hendrycks & Dietterich, *Benchmarking neural network robustness to common corruptions and perturbations*, ICLR 2019.
"""

from lehr.analysis.corruptions.contract import SEVERITIES, Corruption, corruption
from lehr.analysis.corruptions.corrupt import corrupt
from lehr.analysis.corruptions.draws import Draws
from lehr.analysis.corruptions.published import load_published
from lehr.analysis.corruptions.registry import BENCHMARK, DEVIATIONS, PUBLISHED, corruptions

__all__ = [
    "BENCHMARK",
    "DEVIATIONS",
    "PUBLISHED",
    "SEVERITIES",
    "Corruption",
    "Draws",
    "corrupt",
    "corruption",
    "corruptions",
    "load_published",
]
