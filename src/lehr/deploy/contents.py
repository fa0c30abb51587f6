"""Between a network with its mask and what a file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lehr.base.errors import LehrError, require
from lehr.masks import Mask
from lehr.runtime.cells import Cells
from lehr.runtime.graph import OWN
from lehr.runtime.tensors import Stored
from lehr.runtime.values import DTYPES

TORCH = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in TORCH.items()}


def stored_tensors(model: nn.Module, mask: Mask | None) -> dict[str, Stored]:
    """The state dict of a network, its masked tensors as places and values; tied tensors once.

    Raises:
        LehrError: the mask is of another network, a weight outside of it is not 0, or something in the state dict is
            no ordinary tensor.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> mask = Mask({"weight": torch.tensor([[True, False]])}).apply_(layer)
    >>> stored_tensors(layer, mask)["weight"].places.tolist()
    [0]
    """
    mask = mask if mask is not None else Mask({})
    mask.check(model)
    state = model.state_dict()
    for name in mask:
        require(name in state, f"{name} has a mask and is not in the state dict: give the network that the mask is of")
    first: dict[object, str] = {}
    for name in [*mask, *state]:
        first.setdefault(_place(state[name], name), name)
    originals = {name: tensor for name, tensor in state.items() if first[_place(tensor, name)] == name}
    result = {name: _stored(name, tensor, mask) for name, tensor in originals.items()}
    for name, tensor in state.items():
        if name not in result:
            same = first[_place(tensor, name)]
            result[name] = replace(result[same], name=name, same=same)
    return result


def state_dict_of(tensors: Mapping[str, Stored]) -> dict[str, Tensor]:
    """The state dict back; tied tensors are one."""
    found: dict[str, Tensor] = {}
    tensors = {name: stored for name, stored in tensors.items() if not name.startswith(OWN)}
    for name, stored in tensors.items():
        if stored.same is None:
            array = stored.dense()
            writable = array if array.flags.writeable else array.copy()
            tensor = torch.from_numpy(writable.view(np.int16) if stored.dtype == "BF16" else writable)
            found[name] = tensor.view(TORCH[stored.dtype]) if stored.dtype == "BF16" else tensor
    return {name: found[stored.same or name] for name, stored in tensors.items()}


def mask_of(tensors: Mapping[str, Stored]) -> Mask:
    """The mask: of every tensor that was stored as places."""
    bits: dict[str, Tensor] = {}
    for name, stored in tensors.items():
        if stored.places is not None and stored.same is None and not name.startswith(OWN):
            kept = np.zeros(stored.size, dtype=np.bool_)
            kept[stored.places] = True
            bits[name] = torch.from_numpy(kept).reshape(stored.shape)
    return Mask(bits, {name: tensors[name].granularity for name in bits})


def _stored(name: str, tensor: Tensor, mask: Mask) -> Stored:
    if tensor.dtype not in NAMES:
        raise LehrError(f"{name} is {tensor.dtype}, which a file cannot hold: convert it to one of {', '.join(DTYPES)}")
    dtype, shape = NAMES[tensor.dtype], tuple(tensor.shape)
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    values = (flat.view(torch.int16) if dtype == "BF16" else flat).numpy()
    values = values.view(np.uint16) if dtype == "BF16" else values
    if name not in mask:
        return Stored(name, dtype, shape, values)
    require(tensor.dtype.is_floating_point, f"{name} is {tensor.dtype} and has a mask: only floating weights have one")
    kept = mask[name].reshape(-1)
    outside = int((flat[~kept] != 0).sum())
    require(
        outside == 0,
        f"{outside:,} weights of {name} outside its mask are not 0: end the annealing, or call mask.apply_(model)",
    )
    places = np.flatnonzero(kept.numpy())
    granules = mask.granules(name)
    plain = mask.granularities[name] == "unstructured"
    cells = None if plain else Cells(granules.dims, granules.axes, granules.n, granules.along)
    return Stored(name, dtype, shape, values[places], places, mask.granularities[name], cells)


def _place(tensor: object, name: str) -> object:
    """What tied tensors have in common."""
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.device.type == "meta":
        raise LehrError(f"{name} of the state dict is no ordinary tensor: a file holds tensors only")
    if not tensor.numel():
        return name
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device


def plain(value: Any, what: str) -> Any:
    """The value again, if it is JSON.

    Raises:
        LehrError: it holds anything but texts, numbers, truth values, lists and mappings of texts.

    >>> plain({"mean": (0.5,)}, "preprocessing")
    {'mean': [0.5]}
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and np.isfinite(value):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(one, what) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(one, what) for key, one in value.items()}
    raise LehrError(f"{what} holds {str(value)[:60]!r}: give texts, numbers, lists and mappings only")
