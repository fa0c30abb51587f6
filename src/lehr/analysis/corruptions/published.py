"""`load_published`: the corrupted images of a CIFAR-10-C folder that a user has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.npyio import NpzFile
from torch import Tensor

from lehr.analysis.corruptions.contract import SEVERITIES, check_severity
from lehr.analysis.corruptions.registry import PUBLISHED
from lehr.base.errors import LehrError, require, unknown

BLOCK = 10_000  # images of a severity
TOTAL = BLOCK * len(SEVERITIES)
SOURCE = "https://zenodo.org/records/2535967"


def load_published(folder: Path, name: str, severity: int, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Images, uint8 (N, 3, 32, 32), and labels, int64 (N,), of one corruption at one severity, as published.

    ``<name>.npy`` and ``labels.npy`` hold 10,000 test images for each severity, one after the other: severity s is rows
    10,000 (s - 1) on. Only the rows asked for are read; nothing is unpickled. CIFAR-100-C has the same form. Hendrycks &
    Dietterich 2019, arXiv:1903.12261.

    Args:
        folder: where the files of CIFAR-10-C lie.
        name: one of the 19 published names.
        severity: 1 (mild) to 5 (strong).
        count: how many of the first images; all 10,000 by default.

    Raises:
        LehrError: the name, severity or count is none, or a file is missing or not what it should be.

    >>> load_published(Path("nowhere"), "fog", 1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: nowhere/fog.npy is missing: give the folder of CIFAR-10-C, from ...
    """
    if name not in PUBLISHED:
        raise unknown("published corruption", name, PUBLISHED)
    check_severity(severity)
    fits = count is None or (isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= BLOCK)
    require(fits, f"count is {count!r}: give a whole number from 1 to {BLOCK}, or None for all")
    folder, first = Path(folder), BLOCK * (severity - 1)
    rows = slice(first, first + (count or BLOCK))
    images = _opened(folder / f"{name}.npy", (TOTAL, 32, 32, 3), "u", 1)[rows]
    labels = _opened(folder / "labels.npy", (TOTAL,), "iu", 8)[rows]
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return tensor, torch.from_numpy(labels.astype(np.int64))


def _opened(path: Path, shape: tuple[int, ...], kinds: str, most_bytes: int) -> npt.NDArray[Any]:
    remedy = f"give the folder of CIFAR-10-C, from {SOURCE}"
    require(path.is_file(), f"{path} is missing: {remedy}")
    try:
        array: npt.NDArray[Any] | NpzFile = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise LehrError(f"{path} is not a whole NumPy file ({error}): fetch it again, or {remedy}") from error
    if isinstance(array, NpzFile):
        array.close()
        raise LehrError(f"{path} is an archive of arrays and should be one array: {remedy}")
    fits = array.shape == shape and array.dtype.kind in kinds and array.dtype.itemsize <= most_bytes
    found = f"{array.dtype} of shape {array.shape}"
    require(fits, f"{path} has {found} and should have {'uint8' if kinds == 'u' else 'integers'} of {shape}: {remedy}")
    return array
