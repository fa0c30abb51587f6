"""`save_family`: several sparse networks of one architecture as one file; `load_family`: all of them back, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from lehr.base.errors import LehrError, require
from lehr.deploy.contents import stored_tensors
from lehr.deploy.pack import opened
from lehr.deploy.saved import Architecture, Saved, Values, about_of, check_values, write
from lehr.masks import Mask
from lehr.runtime.file import Contents, read
from lehr.runtime.graph import own
from lehr.runtime.nets import MOST, member_tensors, members_of
from lehr.runtime.tensors import Stored, same_places


def save_family(
    networks: Sequence[nn.Module],
    path: str | Path,
    *,
    masks: Sequence[Mask | None],
    values: Values = "fp32",
    example_inputs: Sequence[Tensor] | Tensor | None = None,
    architecture: Architecture | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Saved:
    """Write the members of an ensemble as one ``.lehr`` file.

    Where the masks of members are disjoint, as those of a pair or a partition are, places are coded among those that are left, and the last
    part's cost nothing: P parts need ``log2 P`` bits a weight for all of their masks together. Masks that are equal are there once. Dense tensors that members share bit for bit stand there
    once.

    Args:
        networks: the members.
        path: of the file; written beside and renamed.
        masks: of each; None: dense.
        values, example_inputs, architecture, preprocessing, provenance: as `lehr.save` has them, for all members.

    Raises:
        LehrError: as `lehr.save`; or the members are unlike, or have no like graphs.

    >>> from lehr.masks.partition import partition
    >>> parts = partition(nn.Linear(64, 64, bias=False), 4)
    >>> layers = [nn.Linear(64, 64, bias=False) for _ in parts]
    >>> _ = [mask.apply_(layer) for mask, layer in zip(parts, layers)]
    >>> saved = save_family(layers, "/tmp/_doc.family.lehr", masks=parts)
    >>> round((saved.size - 4 * 64 * 64) / (64 * 64 / 8), 1) < 4.5, len(load_family("/tmp/_doc.family.lehr", layers)[1])
    (True, 4)
    """
    require(len(networks) > 0, "a family has no members: give at least one network")
    require(len(networks) <= MOST, f"a family of {len(networks)} is more than a file holds: give at most {MOST}")
    shapes = [{name: tensor.shape for name, tensor in network.state_dict().items()} for network in networks]
    unlike_first = next((i for i, one in enumerate(shapes) if one != shapes[0]), None)
    require(
        unlike_first is None,
        f"member {unlike_first} has other tensors than the first: give networks of one architecture",
    )
    require(len(networks) == len(masks), f"{len(networks)} networks have {len(masks)} masks: give one for each")
    check_values(values)
    about = about_of(architecture, preprocessing, provenance, members=len(networks))
    stored = [stored_tensors(network, mask) for network, mask in zip(networks, masks, strict=True)]
    graph: dict[str, Any] | None = None
    missing: tuple[str, ...] = ()
    if example_inputs is not None:
        stored, graph, missing = _captured(networks, stored, example_inputs)
    tensors: dict[str, Stored] = {}
    for number, one in enumerate(stored):
        for name, tensor in one.items():
            prefixed = f"{number}/{name}"
            same = None if tensor.same is None else f"{number}/{tensor.same}"
            tensors[prefixed] = _among(replace(tensor, name=prefixed, same=same), tensors, name, number)
    alone = [tensor for one in stored for tensor in one.values()]
    return write(Path(path), Contents(about, tensors, graph), values, alone, missing)


def load_family(path: str | Path, models: Sequence[nn.Module] | None = None) -> tuple[list[nn.Module], list[Mask]]:
    """The members of a family's file and their masks.

    Args:
        path: of the file.
        models: as many networks to fill, where the file does not name a built-in one.

    Raises:
        LehrError: the file is damaged, or of one network, or of others than those given.

    >>> networks = [nn.Linear(2, 1), nn.Linear(2, 1)]
    >>> _ = save_family(networks, "/tmp/_doc_both.lehr", masks=[None, None])
    >>> back, masks = load_family("/tmp/_doc_both.lehr", [nn.Linear(2, 1), nn.Linear(2, 1)])
    >>> [bool((a.weight == b.weight).all()) for a, b in zip(networks, back)]
    [True, True]
    """
    contents = read(path)
    count = members_of(contents)
    if not count:
        raise LehrError(f"{path} holds one network and no family: open it with lehr.load")
    require(models is None or len(models) == count, f"{path} has {count} members: give as many models")
    found = []
    for number in range(count):
        tensors = member_tensors(contents.tensors, number)
        found.append(opened(path, replace(contents, tensors=tensors), None if models is None else models[number]))
    return [network for network, _ in found], [mask for _, mask in found]


def _captured(
    networks: Sequence[nn.Module], stored: list[dict[str, Stored]], example_inputs: Sequence[Tensor] | Tensor
) -> tuple[list[dict[str, Stored]], dict[str, Any] | None, tuple[str, ...]]:
    """The tensors and the graph that all members have; or the tensors as they were, and why there is none."""
    from lehr.deploy.capture import capture  # torch.export takes a second to import
    from lehr.deploy.compile import unlike

    found = [capture(network, example_inputs, tensors) for network, tensors in zip(networks, stored, strict=True)]
    for network, one in zip(networks, found, strict=True):
        missing = one.unknown or unlike(network, one, example_inputs)
        if one.graph is None or missing:
            return stored, None, missing
    graphs = [one.graph.plain() for one in found if one.graph is not None]
    if any(graph != graphs[0] for graph in graphs):
        return stored, None, ("the members are computed in different ways",)
    return [dict(one.tensors) for one in found], graphs[0], ()


def _same_bits(one: Stored, other: Stored) -> bool:
    """Also of zeros, which have a sign."""
    return one.shape == other.shape and one.values.tobytes() == other.values.tobytes()


def _among(tensor: Stored, before: Mapping[str, Stored], name: str, number: int) -> Stored:
    """The tensor, told by those of earlier members where that is shorter."""
    if tensor.same is not None:
        return tensor
    earlier = [before[key] for i in range(number) if (key := f"{i}/{name}") in before]
    if tensor.places is None:
        for other in earlier:
            if other.places is None and other.dtype == tensor.dtype and _same_bits(other, tensor):
                return replace(other, name=tensor.name, same=other.same or other.name)
        return tensor
    if own(tensor.name):
        return tensor
    for other in earlier:
        if same_places(tensor, other):
            return replace(tensor, alike=other.alike or other.name)
    taken = np.zeros(tensor.size, dtype=np.bool_)
    taken[tensor.places] = True
    outside = []
    for other in earlier:
        if other.places is not None and other.size == tensor.size and not taken[other.places].any():
            outside.append(other.name)
            taken[other.places] = True
    return replace(tensor, outside=tuple(outside))
