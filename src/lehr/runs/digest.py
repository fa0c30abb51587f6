"""Names for exact tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def digest_of(tensors: Mapping[str, Tensor | np.ndarray], state: object = None) -> str:
    """32 hexadecimal characters that name tensors by name, and a value of JSON beside them.

    >>> digest_of({"w": torch.zeros(2)}) == digest_of({"w": torch.zeros(2)}) != digest_of({"w": torch.ones(2)})
    True
    """
    digest = hashlib.blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        value = tensors[name]
        tensor = torch.from_numpy(value) if isinstance(value, np.ndarray) else value.detach().cpu().contiguous()
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """A name for a network's exact weights.

    >>> a = weights_digest({"w": torch.zeros(2)})
    >>> a == weights_digest({"w": torch.zeros(2)}) != weights_digest({"w": torch.ones(2)})
    True
    """
    return digest_of(tensors)
