"""Weights to start from: those of a run, or a file of the user's. Nothing in a file is code."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lehr.base.errors import LehrError, one_line
from lehr.deploy.compressed_tensors import from_bitmask, has_bitmask
from lehr.deploy.pack import load_state_dict

NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights in their checkpoints
SUFFIXES = (".lehr", ".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a ``.lehr`` or ``.safetensors`` file, or from a ``.pt`` file read with ``weights_only``.

    A ``.safetensors`` file that the compressed-tensors library wrote as bitmasks and values is made dense.
    A checkpoint that holds the weights under ``state_dict`` or ``model`` is opened, and the prefixes that
    DistributedDataParallel and torch.compile put before every name are taken off.

    Raises `LehrError` where the file is missing, damaged, holds code, or holds something else.

    >>> torch.save({"model": {"module.w": torch.zeros(1)}}, "/tmp/_doc.pt")
    >>> read_weights(Path("/tmp/_doc.pt"))
    {'w': tensor([0.])}
    """
    if not path.is_file():
        raise LehrError(f"there is no file {path}: give the folder of a run or a file of weights")
    if path.suffix not in SUFFIXES:
        raise LehrError(f"{path} is not a file of weights: give one of {', '.join(SUFFIXES)}")
    if path.suffix == ".lehr":
        return load_state_dict(path)
    try:
        value: Any = _safetensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    except LehrError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise LehrError(f"{path} cannot be read ({one_line(error)}): restore it, or train again") from None
    for key in NESTED:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if not isinstance(value, Mapping) or not value or not all(isinstance(t, Tensor) for t in value.values()):
        raise LehrError(f"{path} holds no weights by name: save model.state_dict()")
    tensors = {str(name): tensor for name, tensor in value.items()}
    for name, tensor in tensors.items():
        plain = tensor.layout == torch.strided and tensor.device.type != "meta"
        if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise LehrError(f"{path} holds {name} without all of its values: save it as an ordinary dense tensor")
    for prefix in ("_orig_mod.", "module.", "_orig_mod."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load tensors into a network, or say in one sentence why they do not fit.

    >>> load_weights(nn.Linear(1, 1), {"weight": torch.zeros(1, 1)}, "doc")
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: doc does not fit the network: bias is missing
    """
    own = model.state_dict()
    for name in own.keys() - tensors.keys():
        raise LehrError(f"{source} does not fit the network: {name} is missing")
    for name in tensors.keys() - own.keys():
        raise LehrError(f"{source} does not fit the network: it has {name}, which the network lacks")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise LehrError(
                f"{source} does not fit the network: {name} is {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
            )
    model.load_state_dict(tensors)


def _safetensors(path: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load_file(path)
    return from_bitmask(tensors, str(path))[0] if has_bitmask(tensors) else tensors


def _unpickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():  # about the kind of pickle; what matters is told below
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise LehrError(
            f"{path} holds more than tensors, and such a file can run code: save model.state_dict() alone"
        ) from None
