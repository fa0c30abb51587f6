"""`Mask`: the target subnetwork as a value."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lehr.base.errors import LehrError, require
from lehr.masks.granules import Granules, granules
from lehr.masks.targets import Modules, named_parameter, placed_like, target_parameters, whole_parameters

Bits = np.ndarray


@dataclass(frozen=True)
class LayerRow:
    """One line of a mask's table: a parameter, its shape, and how many of its weights are kept."""

    name: str
    shape: tuple[int, ...]
    kept: int
    size: int

    @property
    def density(self) -> float:
        """Kept weights over all."""
        return self.kept / self.size if self.size else 1.0


class Mask(Mapping[str, Tensor]):
    """Which weights are kept: an immutable, hashable mapping from parameter names to bool tensors.

    The bits are held packed (one a weight) and each look-up gives a fresh tensor, so nothing
    done to it changes the mask. ``density = kept / size``, ``sparsity = 1 - density``. Masks
    combine with ``~``, ``&``, ``|`` and ``-``. A mask is never inferred from zeros, unless asked
    (`Mask.from_zeros`). A mask knows its granularity, so that methods draw and choose again what it
    was chosen in; two masks with the same bits are equal whatever theirs is.

    >>> m = Mask({"w": torch.tensor([[True, False], [False, False]])})
    >>> m.density, (~m).kept, (m & ~m).kept, m == Mask.load(m.save("/tmp/_doc.mask"))
    (0.25, 3, 0, True)
    """

    def __init__(self, tensors: Mapping[str, Tensor], granularity: str | Mapping[str, str] = "unstructured") -> None:
        for name, tensor in tensors.items():
            require(isinstance(name, str), f"a mask's name is {name!r}: give parameter names as strings")
            require(
                isinstance(tensor, Tensor) and tensor.dtype == torch.bool,
                f"the mask of {name} is {getattr(tensor, 'dtype', type(tensor).__name__)}: give a bool tensor",
            )
        packed = {name: _pack(tensor) for name, tensor in tensors.items()}
        texts = granularity if isinstance(granularity, Mapping) else dict.fromkeys(tensors, granularity)
        self._fill(packed, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, texts)

    def _fill(
        self, packed: dict[str, Bits], shapes: dict[str, tuple[int, ...]], granularity: Mapping[str, str] | None
    ) -> None:
        for bits in packed.values():
            bits.flags.writeable = False
        self._packed, self._shapes = packed, shapes
        self._granularity = {name: (granularity or {}).get(name, "unstructured") for name in packed}
        for name, text in self._granularity.items():
            granules(text, name, shapes[name])  # raises where it does not fit
        self._kept = {name: int(np.bitwise_count(bits).sum()) for name, bits in packed.items()}

    @classmethod
    def _from_packed(
        cls,
        packed: dict[str, Bits],
        shapes: dict[str, tuple[int, ...]],
        granularity: Mapping[str, str] | None = None,
    ) -> Mask:
        mask = cls.__new__(cls)
        mask._fill(packed, shapes, granularity)
        return mask

    # -- making one ---------------------------------------------------------------------------
    @classmethod
    def from_zeros(cls, model: nn.Module, target_modules: Modules = None, exclude_modules: Modules = None) -> Mask:
        """The mask that a pruned network's exact zeros show: ``m = (w != 0)``.

        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[0.0, 3.0]]))
        >>> Mask.from_zeros(layer)["weight"].tolist()
        [[False, True]]
        """
        names = target_parameters(model, target_modules, exclude_modules)
        return cls({name: weight != 0 for name, weight in whole_parameters(model, names).items()})

    # -- a mapping ----------------------------------------------------------------------------
    def __getitem__(self, name: str) -> Tensor:
        shape = self._shapes[name]
        bits = np.unpackbits(self._packed[name], count=prod(shape), bitorder="little")
        return torch.from_numpy(bits.view(np.bool_)).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, name: object) -> bool:
        return name in self._packed

    # -- a value ------------------------------------------------------------------------------
    @property
    def digest(self) -> str:
        """Sixteen hexadecimal characters that name the content: the same for equal masks."""
        state = hashlib.blake2b(digest_size=8)
        for name in sorted(self._packed):
            state.update(f"{name}\0{self._shapes[name]}\0".encode())
            state.update(self._packed[name].tobytes())
        return state.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return self._shapes == other._shapes and all(
            np.array_equal(bits, other._packed[name]) for name, bits in self._packed.items()
        )

    def __hash__(self) -> int:
        return int(self.digest, 16)

    def __repr__(self) -> str:
        kind = "" if self.granularity == "unstructured" else f", {self.granularity}"
        return f"Mask({self.kept:,} of {self.size:,} weights in {len(self)} layers, {100 * self.sparsity:.4g} % sparse{kind})"

    def __reduce__(self) -> tuple[object, ...]:
        return Mask._from_packed, (self._packed, self._shapes, self._granularity)

    # -- granules -----------------------------------------------------------------------------
    @property
    def granularity(self) -> str:
        """What was chosen as one, such as ``2:4`` or ``filter``; ``mixed`` where layers differ.

        >>> Mask({"w": torch.tensor([[True, True], [False, False]])}, "filter").granularity
        'filter'
        """
        kinds = {text.partition(":")[0] if text.startswith("head") else text for text in self._granularity.values()}
        return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "unstructured"

    @property
    def granularities(self) -> dict[str, str]:
        """The granularity of each parameter, by name.

        >>> Mask({"w": torch.tensor([True, False])}).granularities
        {'w': 'unstructured'}
        """
        return dict(self._granularity)

    def granules(self, name: str) -> Granules:
        """How the weights of one parameter group."""
        return granules(self._granularity[name], name, self._shapes[name])

    # -- counts -------------------------------------------------------------------------------
    @property
    def kept(self) -> int:
        """How many weights are kept.

        >>> m = Mask({"w": torch.tensor([True, False, False, False])})
        >>> m.kept, m.size, m.density, m.sparsity, m.layer_counts()
        (1, 4, 0.25, 0.75, {'w': 1})
        """
        return sum(self._kept.values())

    @property
    def size(self) -> int:
        """How many weights the mask covers."""
        return sum(prod(shape) for shape in self._shapes.values())

    @property
    def density(self) -> float:
        """``kept / size``; 1 for a mask that covers nothing."""
        return self.kept / self.size if self.size else 1.0

    @property
    def sparsity(self) -> float:
        """``1 - density``."""
        return 1.0 - self.density

    def layer_counts(self) -> dict[str, int]:
        """Kept weights by name."""
        return dict(self._kept)

    def layers(self) -> list[LayerRow]:
        """The per-layer table.

        >>> Mask({"w": torch.tensor([True, False])}).layers()[0].density
        0.5
        """
        return [LayerRow(name, shape, self._kept[name], prod(shape)) for name, shape in self._shapes.items()]

    # -- algebra ------------------------------------------------------------------------------
    def __invert__(self) -> Mask:
        # The complement of 1:4 is 3:4; other granules stay whole.
        texts = {name: _complement(text) for name, text in self._granularity.items()}
        return Mask({name: ~tensor for name, tensor in self.items()}, texts)

    def __and__(self, other: Mask) -> Mask:
        return self._combine(other, np.bitwise_and)

    def __or__(self, other: Mask) -> Mask:
        return self._combine(other, np.bitwise_or)

    def __sub__(self, other: Mask) -> Mask:
        return self & ~other

    def _combine(self, other: Mask, operation: np.ufunc) -> Mask:
        self._check_same_layers(other)
        packed = {name: operation(bits, other._packed[name]) for name, bits in self._packed.items()}
        agree = self._granularity == other._granularity and not any(
            self.granules(name).n for name in self
        )  # two 2:4 masks do not make a third
        return Mask._from_packed(packed, self._shapes, self._granularity if agree else None)

    def hamming(self, other: Mask) -> int:
        """The number of weights on which two masks differ: ``|m xor n|``.

        >>> m = Mask({"w": torch.tensor([True, False, True])})
        >>> m.hamming(~m), m.jaccard(~m)
        (3, 1.0)
        """
        self._check_same_layers(other)
        return sum(int(np.bitwise_count(bits ^ other._packed[name]).sum()) for name, bits in self._packed.items())

    def jaccard(self, other: Mask) -> float:
        """The Jaccard distance ``1 - |m & n| / |m | n|``: 0 for equal masks, 1 for disjoint ones.

        >>> m = Mask({"w": torch.tensor([True, True, False])})
        >>> m.jaccard(m), m.jaccard(~m)
        (0.0, 1.0)
        """
        union = (self | other).kept
        return 1.0 - (self & other).kept / union if union else 0.0

    def _check_same_layers(self, other: Mask) -> None:
        for name in self._shapes.keys() ^ other._shapes.keys():
            raise LehrError(f"only one of the two masks covers {name}: masks combine when they cover the same layers")
        for name, shape in self._shapes.items():
            if other._shapes[name] != shape:
                raise LehrError(f"the masks of {name} have shapes {shape} and {other._shapes[name]}: they must agree")

    # -- against a network --------------------------------------------------------------------
    def check(self, model: nn.Module) -> None:
        """Raise unless every name is a parameter of the model with the mask's shape.

        >>> Mask({"bias": torch.tensor([True])}).check(nn.Linear(2, 1))
        """
        names: dict[int, str] = {}
        for name, shape in self._shapes.items():
            parameter = named_parameter(model, name)
            if names.setdefault(id(parameter), name) != name:
                raise LehrError(f"{names[id(parameter)]} and {name} are one shared parameter: mask it under one name")
            actual = tuple(parameter.shape)
            if actual != shape:
                raise LehrError(f"{name} has shape {actual} and its mask {shape}: the mask is of another network")

    def apply_(self, model: nn.Module) -> Mask:
        """Set the weights outside the mask to exactly 0, in place; return the mask.

        >>> layer = nn.Linear(2, 1)
        >>> _ = Mask({"weight": torch.tensor([[True, False]])}).apply_(layer)
        >>> int((layer.weight != 0).sum())
        1
        """
        self.check(model)
        with torch.no_grad():
            for name, keep in self.items():
                parameter = named_parameter(model, name)
                parameter.masked_fill_(placed_like(parameter, ~keep), 0.0)
        return self

    # -- files --------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The mask as plain tensors, lists and texts, for a checkpoint that must hold no classes.

        >>> m = Mask({"w": torch.tensor([True, False])})
        >>> Mask.from_state_dict(m.state_dict()) == m
        True
        """
        from lehr.masks.files import granularity_entry, packed_tensors

        packed, shapes = packed_tensors(self)
        bits = {name: torch.from_numpy(array) for name, array in packed.items()}
        return {"bits": bits, "shapes": shapes, **granularity_entry(self)}

    @staticmethod
    def from_state_dict(state: Mapping[str, Any]) -> Mask:
        """The mask back; a state that is damaged is refused with one sentence."""
        from lehr.masks.files import unpack_tensors

        if not isinstance(state, Mapping) or not isinstance(state.get("bits"), Mapping):
            raise LehrError("the saved state has no target mask: the checkpoint is of another kind")
        packed = {name: bits.numpy() for name, bits in state["bits"].items()}
        return unpack_tensors(packed, state.get("shapes"), "the saved target mask", state.get("granularity"))

    def save(self, path: str | Path) -> Path:
        """Write the packed mask as a safetensors file, beside and renamed; return the path.

        >>> m = Mask({"w": torch.tensor([True, False])})
        >>> Mask.load(m.save("/tmp/_doc_saved.mask")) == m
        True
        """
        from lehr.masks.files import save_mask

        return save_mask(self, Path(path))

    @staticmethod
    def load(path: str | Path) -> Mask:
        """Read what `save` wrote; a damaged or foreign file is refused with one sentence."""
        from lehr.masks.files import load_mask

        return load_mask(Path(path))


def _complement(text: str) -> str:
    n, colon, m = text.partition(":")
    if not (colon and n.isdigit()):
        return text
    return f"{int(m) - int(n)}:{m}" if n != m else "unstructured"


def _pack(tensor: Tensor) -> Bits:
    flat = tensor.detach().cpu().reshape(-1).numpy()
    packed: Bits = np.packbits(flat, bitorder="little")
    return packed
