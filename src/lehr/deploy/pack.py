"""`save`: a network and its mask as one file near the entropy bound; `load`: both back, bit for bit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lehr.base.errors import LehrError, one_line, require
from lehr.deploy.contents import mask_of, state_dict_of, stored_tensors
from lehr.deploy.saved import Architecture, Saved, Values, about_of, check_values, write
from lehr.masks import Mask
from lehr.models import create
from lehr.runtime.file import Contents, read
from lehr.runtime.graph import OWN

SIZES = {"num_classes", "input_shape", "vocabulary", "context"}
LARGEST = 10**6  # a number among them


def save(
    model: nn.Module,
    path: str | Path,
    *,
    mask: Mask | None = None,
    values: Values = "fp32",
    example_inputs: Sequence[Tensor] | Tensor | None = None,
    architecture: Architecture | None = None,
    classes: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Saved:
    """Write a network as a ``.lehr`` file: masked tensors as coded places and values, the others as they are.

    Args:
        model: a network whose weights outside the mask are 0.
        path: of the file; written beside and renamed.
        mask: what is kept; None: every tensor is dense. It is stored, never inferred from zeros.
        values: of the kept weights: ``fp32`` (as they are, whatever their dtype), ``fp16``, ``bf16``, or ``int8`` with a
            bf16 scale for each output.
        example_inputs: with them the file also holds the graph, and `lehr.runtime.load` runs it without torch.
        architecture: the name of a built-in network and its sizes, so that `load` can build it.
        classes: names of the outputs.
        preprocessing: what is done to inputs, as plain data.
        provenance: where the network comes from, as plain data.

    Raises:
        LehrError: the mask is of another network, weights outside of it are not 0, or values do not fit into their code.

    >>> layer = nn.Linear(100, 10)
    >>> mask = Mask({"weight": layer.weight.abs() > 0.09}).apply_(layer)
    >>> saved = save(layer, "/tmp/_doc.lehr", mask=mask)
    >>> back = load_state_dict("/tmp/_doc.lehr")
    >>> saved.size < saved.dense, bool((back["weight"] == layer.weight).all()), load_mask("/tmp/_doc.lehr") == mask
    (True, True, True)
    """
    check_values(values)
    about = about_of(architecture, preprocessing, provenance, classes=classes)
    tensors = stored_tensors(model, mask)
    graph: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()
    if example_inputs is not None:
        from lehr.deploy.capture import capture  # torch.export takes a second to import
        from lehr.deploy.compile import unlike

        found = capture(model, example_inputs, tensors)
        missing = found.unknown or unlike(model, found, example_inputs)
        if found.graph is not None and not missing:
            tensors, graph = found.tensors, found.graph.plain()
    return write(Path(path), Contents(about, tensors, graph), values, tensors.values(), missing)


def load(path: str | Path, model: nn.Module | None = None) -> tuple[nn.Module, Mask]:
    """The network of a ``.lehr`` file and its mask.

    Args:
        path: of the file.
        model: the network to fill, where the file does not name a built-in one.

    Raises:
        LehrError: the file is damaged, or is of another network, or says not how its network is built.

    >>> layer = nn.Linear(4, 2)
    >>> mask = Mask({"weight": layer.weight > 0}).apply_(layer)
    >>> _ = save(layer, "/tmp/_doc_back.lehr", mask=mask)
    >>> back, its_mask = load("/tmp/_doc_back.lehr", nn.Linear(4, 2))
    >>> torch.equal(back.weight, layer.weight), its_mask == mask
    (True, True)
    """
    return opened(path, read(path), model)


def opened(path: str | Path, contents: Contents, model: nn.Module | None = None) -> tuple[nn.Module, Mask]:
    """The same for a file that was read; the path is for what errors say."""
    _alone(path, contents)
    told = contents.about.get("architecture")
    if model is None:
        if not isinstance(told, dict) or not isinstance(told.get("sizes"), dict):
            raise LehrError(
                f"{path} does not say how its network is built: give model=, or read it with load_state_dict"
            )
        model = _build(path, str(told.get("name")), told["sizes"], contents)
    try:
        model.load_state_dict(state_dict_of(contents.tensors))
    except RuntimeError as error:
        raise LehrError(
            f"{path} is of another network ({one_line(error)}): give the one that it was saved from"
        ) from None
    return model, _mask(path, contents)


def load_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a ``.lehr`` file by name, dense, as `torch.nn.Module.load_state_dict` takes them.

    Raises:
        LehrError: the file is damaged.

    >>> _ = save(nn.Linear(4, 2), "/tmp/_doc_tensors.lehr")
    >>> {name: tuple(tensor.shape) for name, tensor in load_state_dict("/tmp/_doc_tensors.lehr").items()}
    {'weight': (2, 4), 'bias': (2,)}
    """
    return state_dict_of(_alone(path, read(path)).tensors)


def load_mask(path: str | Path) -> Mask:
    """The mask of a ``.lehr`` file alone, over the tensors that were saved with one.

    Raises:
        LehrError: the file is damaged.

    >>> mask = Mask({"weight": torch.tensor([[True, False]])})
    >>> layer = nn.Linear(2, 1)
    >>> _ = save(layer, "/tmp/_doc_mask.lehr", mask=mask.apply_(layer))
    >>> load_mask("/tmp/_doc_mask.lehr") == mask
    True
    """
    return _mask(path, _alone(path, read(path)))


def _alone(path: str | Path, contents: Contents) -> Contents:
    """The contents of a file of one network."""
    if contents.about.get("members") and any(name.startswith("0/") for name in contents.tensors):
        raise LehrError(f"{path} holds a family of networks: open it with lehr.load_family, or give one network")
    return contents


def _mask(path: str | Path, contents: Contents) -> Mask:
    try:
        return mask_of(contents.tensors)
    except LehrError as error:
        raise LehrError(f"{path}: {error}") from None


def _build(path: str | Path, name: str, told: Mapping[str, Any], contents: Contents) -> nn.Module:
    """The network that a file names, once its tensors are known to be of the shapes that the file holds."""
    if ":" in name and ".py" not in name:
        raise LehrError(
            f"{path} names a network of a library or a wrapper, {name[:60]!r}, which is not built: give model="
        )
    if ".py" in name:
        raise LehrError(f"{path} names a file of code, {name[:60]!r}, which is not run: give model=")
    sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    deep = [int(n) for n in re.findall(r"\d+", name[:60])]  # in the name: layers, and how wide they are
    wide = [int(n) for n in re.findall(r"\d+", str(sizes)[:200])]
    sane = len(name) <= 60 and len(str(sizes)) <= 200 and sizes.keys() <= SIZES and max([0, *wide]) <= LARGEST
    strange = f"{path} names {name[:60]} with sizes {str(told)[:90]}: give model="
    require(sane and max([0, *deep]) <= max(1000, len(contents.tensors)), strange)
    try:
        with torch.device("meta"):  # no memory before the sizes are known to be those of the file
            shapes = {key: tuple(tensor.shape) for key, tensor in create(name, **sizes).state_dict().items()}
    except LehrError:
        raise
    except (TypeError, KeyError, ValueError, RuntimeError):
        raise LehrError(strange) from None
    if shapes != {key: t.shape for key, t in contents.tensors.items() if not key.startswith(OWN)}:
        raise LehrError(f"{path} holds tensors that {name} with its sizes does not have: give model=")
    return create(name, **sizes)
