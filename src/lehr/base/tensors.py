"""Tensors in files: data only, nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from lehr.base.files import write_bytes


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray | Tensor], metadata: Mapping[str, str]) -> Path:
    """Write tensors by name as safetensors, beside and renamed.

    >>> write_tensors(Path("/tmp/_doc.safetensors"), {"a": np.zeros(3)}, {"format": "doc"}).name
    '_doc.safetensors'
    """
    arrays = {name: torch.from_numpy(t) if isinstance(t, np.ndarray) else t for name, t in tensors.items()}
    seen: set[int] = set()
    for name, tensor in arrays.items():
        whole = tensor.detach().cpu().contiguous()
        place = whole.untyped_storage().data_ptr()
        arrays[name] = whole.clone() if place in seen else whole  # tied weights: the format wants one copy each
        seen.add(place)
    content = save(arrays, dict(metadata))
    return write_bytes(path, content)
