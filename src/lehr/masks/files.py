"""A mask as a file: safetensors, one bit a weight (least significant first), shapes in the metadata."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from lehr.base.errors import LehrError
from lehr.base.files import read_json_text
from lehr.base.tensors import write_tensors
from lehr.masks.mask import Mask

FORMAT = "lehr-mask-1"


def packed_tensors(mask: Mask) -> tuple[dict[str, np.ndarray], dict[str, list[int]]]:
    """The packed bits by name (uint8, ``ceil(size / 8)``), and the shapes."""
    packed = {name: bits.copy() for name, bits in mask._packed.items()}
    return packed, {name: list(shape) for name, shape in mask._shapes.items()}


def unpack_tensors(packed: dict[str, np.ndarray], shapes_json: object, source: str, granularity: object = None) -> Mask:
    """The mask back from what `packed_tensors` gave, every length and padding bit checked."""
    if not isinstance(shapes_json, dict) or shapes_json.keys() != packed.keys():
        raise LehrError(f"{source} is damaged: its list of layers and its tensors disagree")
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes_json.items():
        bits = packed[name]
        sane = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
        if not sane or bits.dtype != np.uint8 or bits.ndim != 1 or len(bits) != -(-prod(shape) // 8):
            raise LehrError(f"{source} is damaged: the mask of {name} does not have the size of its shape {shape}")
        if prod(shape) % 8 and bits[-1] >> (prod(shape) % 8):
            raise LehrError(f"{source} is damaged: the mask of {name} has bits beyond its end")
        shapes[name] = tuple(shape)
    texts = granularity if granularity is not None else {}
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise LehrError(f"{source} is damaged: its granularity is not a text for each layer")
    try:
        return Mask._from_packed({name: bits.copy() for name, bits in packed.items()}, shapes, texts)
    except LehrError as error:
        raise LehrError(f"{source} is damaged: {error}") from None


def granularity_entry(mask: Mask) -> dict[str, dict[str, str]]:
    """The metadata that says what was chosen as one; nothing for an unstructured mask.

    >>> granularity_entry(Mask({}))
    {}
    """
    texts = {name: text for name, text in mask.granularities.items() if text != "unstructured"}
    return {"granularity": texts} if texts else {}


def save_mask(mask: Mask, path: Path) -> Path:
    """See `Mask.save`."""
    packed, shapes = packed_tensors(mask)
    header = {"format": FORMAT, "shapes": shapes, "check": mask.digest, **granularity_entry(mask)}
    # One metadata entry: safetensors writes several in an order that changes from process to process.
    return write_tensors(path, packed, {"lehr": json.dumps(header)})


def load_mask(path: Path) -> Mask:
    """See `Mask.load`."""
    if not path.is_file():
        raise LehrError(f"there is no mask file {path}: give the path that Mask.save wrote")
    try:
        with safe_open(path, framework="np") as file:
            header = (file.metadata() or {}).get("lehr", "{}")
            packed = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise LehrError(f"{path} cannot be read as a mask ({error}): restore it or select again") from None
    value = read_json_text(header, str(path))
    kind = value.get("format") if isinstance(value, dict) else None
    if kind != FORMAT:
        raise LehrError(f"{path} is not a mask of lehr: its format is {kind!r}, not {FORMAT!r}")
    mask = unpack_tensors(packed, value.get("shapes"), str(path), value.get("granularity"))
    if value.get("check", mask.digest) != mask.digest:
        raise LehrError(f"{path} is damaged: its checksum does not match; restore it or select again")
    return mask
