"""A file of format version 1, kept for ever: what it holds is read by every later lehr.

`files/version1.lehr` was written once, by ``FILE.write_bytes(made())``. It is never written again: a format that reads
it otherwise is another version.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from lehr.deploy.pack import load_mask, load_state_dict
from lehr.runtime import container
from lehr.runtime.cells import Cells
from lehr.runtime.file import read
from lehr.runtime.tensors import Stored, encode
from lehr.runtime.values import to_float32

FILE = Path(__file__).parent / "files" / "version1.lehr"

ABOUT = {
    "architecture": {"name": "lenet_300_100", "sizes": {"num_classes": 2, "input_shape": [1, 2, 3]}},
    "classes": ["no", "ÿes"],
    "preprocessing": {"mean": [0.5], "std": [0.25]},
    "provenance": {"lehr": "0.1.0"},
}

place = np.arange(40, dtype=np.float32).reshape(4, 10)
seventh = np.where(place % 7 == 0, 1, 0).astype(np.float32)  # 0, 7, 14, 21, 28 and 35 are kept
outputs = np.arange(4)[:, None].astype(np.float32)

# What the file holds, every value exact in its code. A weight is kept where it is not 0.
DENSE = {
    "dense": place / 4 - 5,
    "sparse": seventh * (place + 0.5),
    "nearly_all": np.where(place == 17, 0, place + 1).astype(np.float32),
    "half": seventh * (place / 8 + 1),
    "brain": seventh * 2 ** (place - 20),
    "small": np.where(place % 7 == 0, 127 * 2**outputs, 0).astype(np.float32),  # scales 1, 2, 4 and 8
    "two_of_four": np.tile(np.float32([[1, 0, 0, 2, 0, 3, 4, 0]]), (5, 1)),
    "block": np.kron(np.float32([[1, 0], [0, 2]]), np.ones((2, 3), dtype=np.float32)),
    "filter": np.float32([[0, 0, 0], [1, 2, 3], [4, 5, 6], [0, 0, 0], [7, 8, 9]]),
    "nothing": np.zeros((3, 3), dtype=np.float32),
    "scalar": np.array(0.75, dtype=np.float32),
    "bf16": np.uint16([0x3F80, 0xC000, 0x7F80]),  # 1, -2, inf
    "bf16_sparse": np.uint16([0, 0x4040, 0, 0]),  # 3 at 1
    "double": np.array([0.1, -0.0]),
    "counter": np.array(2**40 + 1, dtype=np.int64),
    "truth": np.array([True, False]),
    "empty": np.zeros((0, 3), dtype=np.float32),
}
CODES = {"half": "F16", "brain": "BF16", "small": "I8"}
DTYPES = {"bf16": "BF16", "bf16_sparse": "BF16", "double": "F64", "counter": "I64", "truth": "BOOL"}
WHOLE = ("dense", "bf16", "double", "counter", "truth", "empty")
CELLS = {
    "two_of_four": ("2:4", Cells((5, 2, 4, 1), (0, 1, 2, 3), n=2, along=2)),
    "block": ("block:2x3", Cells((2, 2, 2, 3), (0, 2))),
    "filter": ("filter", Cells((5, 3), (0,))),
}


def stored(name: str) -> Stored:
    values = DENSE[name]
    dtype, flat = DTYPES.get(name, "F32"), values.reshape(-1)
    if name in WHOLE:
        return Stored(name, dtype, values.shape, flat)
    places = np.flatnonzero(flat)
    return Stored(name, dtype, values.shape, flat[places], places, *CELLS.get(name, ()))


def made() -> bytes:
    """The file again; what deflates the table may differ from machine to machine."""
    coded = [encode(stored(name), CODES.get(name)) for name in DENSE]
    entries = [*(one.entry for one in coded), {"name": "tied", "same": "sparse"}]
    text = json.dumps({"value": entries}, separators=(",", ":")).encode()
    parts = {"table": zlib.compress(text, 9), "tensors": b"".join(one.content for one in coded)}
    return container.to_bytes(ABOUT, parts)


def test_it_holds_what_it_held():
    contents = read(FILE)
    assert contents.about == ABOUT
    assert list(contents.tensors) == [*DENSE, "tied"]
    for name, expected in DENSE.items():
        found = contents.tensors[name]
        assert found.dense().tobytes() == expected.tobytes(), name
        assert (found.dtype, found.shape) == (DTYPES.get(name, "F32"), expected.shape)
        assert (found.places is None) == (name in WHOLE)
        assert (found.granularity, found.cells) == CELLS.get(name, ("unstructured", None))
    assert contents.tensors["tied"].same == "sparse"
    assert to_float32(contents.tensors["bf16"].values, "BF16").tolist() == [1, -2, np.inf]


def test_torch_has_the_same():
    tensors, mask = load_state_dict(FILE), load_mask(FILE)
    assert tensors["tied"] is tensors["sparse"]
    assert tensors["bf16"].dtype == torch.bfloat16
    assert tensors["counter"].item() == 2**40 + 1
    assert torch.equal(tensors["brain"], torch.from_numpy(DENSE["brain"]))
    assert mask.keys() == DENSE.keys() - set(WHOLE)
    assert all(mask[name].tolist() == (DENSE[name] != 0).tolist() for name in mask)
    assert {name: text for name, text in mask.granularities.items() if text != "unstructured"} == {
        name: text for name, (text, _) in CELLS.items()
    }


def test_it_would_be_written_so_today():
    then, now = (container.from_bytes(content) for content in (FILE.read_bytes(), made()))
    assert len(FILE.read_bytes()) < 4000
    assert bytes(then.parts["tensors"]) == bytes(now.parts["tensors"])
    assert zlib.decompress(then.parts["table"]) == zlib.decompress(now.parts["table"])
    assert json.dumps(then.about) == json.dumps(ABOUT)
