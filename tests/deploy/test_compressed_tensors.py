"""Files of compressed-tensors: what its releases wrote is read to the bit, and what lies is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from lehr.base.errors import LehrError
from lehr.deploy.compressed_tensors import from_bitmask, read_bitmask
from lehr.runs.weights import read_weights

FC = torch.zeros(2, 10)
FC[0, 1], FC[0, 9], FC[1, 0], FC[1, 3], FC[1, 8] = 1.5, -2.0, 0.25, 4.0, 8.0
CONV = torch.tensor([[[[0.0, 0.0, 1.0]]], [[[2.0, 0.0, 0.0]]]])
BIAS = torch.tensor([0.0, 7.0])

# What compressed-tensors 0.13.0 made of these three, number by number.
WRITTEN = {
    "conv.row_offsets": torch.tensor([[[0]], [[1]]]),
    "conv.shape": torch.tensor([2, 1, 1, 3]),
    "conv.compressed": torch.tensor([1.0, 2.0]),
    "conv.bitmask": torch.tensor([[[[4]]], [[[1]]]], dtype=torch.uint8),
    "fc.row_offsets": torch.tensor([0, 2]),
    "fc.shape": torch.tensor([2, 10]),
    "fc.compressed": torch.tensor([1.5, -2.0, 0.25, 4.0, 8.0]),
    "fc.bitmask": torch.tensor([[2, 2], [9, 1]], dtype=torch.uint8),
    "fc.bias": BIAS,
}
# And 0.3.1, which stored everything, scalars in a form that it could not read itself.
OLD = {
    **{name.replace(".", ".weight.", 1): tensor for name, tensor in WRITTEN.items() if name != "fc.bias"},
    "fc.bias.row_offsets": torch.tensor(0),
    "fc.bias.shape": torch.tensor([2]),
    "fc.bias.compressed": torch.tensor([7.0]),
    "fc.bias.bitmask": torch.tensor([2], dtype=torch.uint8),
    "count.row_offsets": torch.tensor(0),
    "count.shape": torch.tensor([]),
    "count.compressed": torch.tensor([3]),
    "count.bitmask": torch.tensor([1], dtype=torch.uint8),
}


def written(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """The entries of one tensor, from the published format."""
    kept = tensor != 0
    counts = kept.sum(-1)
    return {
        f"{name}.compressed": tensor[kept],
        f"{name}.bitmask": torch.from_numpy(np.packbits(kept.numpy(), axis=-1, bitorder="little")),
        f"{name}.shape": torch.tensor(tensor.shape),
        f"{name}.row_offsets": counts.cumsum(0) - counts,
    }


def test_what_the_library_wrote(tmp_path):
    save_file(WRITTEN, tmp_path / "w.safetensors")
    state, mask = read_bitmask(tmp_path / "w.safetensors")
    wanted = {"fc.weight": FC, "conv.weight": CONV, "fc.bias": BIAS}
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())
    assert set(mask) == {"fc.weight", "conv.weight"}
    assert all(torch.equal(mask[name], wanted[name] != 0) for name in mask)


def test_what_its_first_releases_wrote(tmp_path):
    save_file(OLD, tmp_path / "w.safetensors")
    state, mask = read_bitmask(tmp_path / "w.safetensors")
    wanted = {"fc.weight": FC, "conv.weight": CONV, "fc.bias": BIAS, "count": torch.tensor(3)}
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())
    assert set(mask) == {"fc.weight", "conv.weight", "fc.bias"}, "a count has no mask"


def test_two_of_four():
    """Its values are a matrix, its shape is a column, and it has no offsets."""
    entries = {
        "fc.compressed": torch.tensor([[1.0, 2.0], [3.0, 0.0]]),
        "fc.bitmask": torch.tensor([[0b0110], [0b1001]], dtype=torch.uint8),
        "fc.shape": torch.tensor([[2], [4]]),
    }
    state, mask = from_bitmask(entries, "here")
    assert state["fc.weight"].tolist() == [[0, 1, 2, 0], [3, 0, 0, 0]]
    assert mask["fc.weight"].tolist() == [[False, True, True, False], [True, False, False, True]], "a kept zero is kept"


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64]),
    st.floats(0, 1),
    st.integers(0, 2**20),
)
def test_what_was_written_comes_back(shape, dtype, density, seed):
    random = torch.Generator().manual_seed(seed)
    tensor = torch.randn(shape, generator=random).to(dtype) * (torch.rand(shape, generator=random) < density)
    state, mask = from_bitmask(written("a.b", tensor), "here")
    assert state["a.b.weight"].dtype == dtype
    assert torch.equal(state["a.b.weight"], tensor)
    assert torch.equal(mask["a.b.weight"], tensor != 0)


def test_offsets_of_a_convolution_may_be_right_ones():
    entries = {**WRITTEN, "conv.row_offsets": torch.tensor([0, 1])}
    assert torch.equal(from_bitmask(entries, "here")[0]["conv.weight"], CONV)
    del entries["conv.row_offsets"]
    assert torch.equal(from_bitmask(entries, "here")[0]["conv.weight"], CONV)


def test_weights_to_start_from_are_read_so(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({f"module.{name}": tensor for name, tensor in WRITTEN.items()}, path)
    state = read_weights(path)
    assert torch.equal(state["fc.weight"], FC)
    assert state.keys() == {"fc.weight", "conv.weight", "fc.bias"}, "prefixes come off afterwards"


HUGE = 2**40
LIES = {
    "no values": ({"fc.compressed": None}, "fc.bitmask without fc.compressed"),
    "no shape": ({"fc.shape": None}, "fc.bitmask without fc.shape"),
    "no bitmask": ({"fc.bitmask": None}, "fc.row_offsets without a bitmask"),
    "too few values": ({"fc.compressed": torch.ones(4)}, "4 values of fc and a bitmask that keeps 5"),
    "too many values": ({"fc.compressed": torch.ones(6)}, "6 values of fc and a bitmask that keeps 5"),
    "more rows": ({"fc.shape": torch.tensor([3, 10])}, "for a weight of shape (3, 10)"),
    "more columns": ({"fc.shape": torch.tensor([2, 17])}, "for a weight of shape (2, 17)"),
    "a scalar": ({"fc.shape": torch.tensor([], dtype=torch.int64)}, "for a weight of shape ()"),
    "huge": ({"fc.shape": torch.tensor([HUGE, HUGE])}, f"for a weight of shape ({HUGE}, {HUGE})"),
    "wraps around": ({"fc.shape": torch.tensor([2**62, 4, 16])}, "for a weight of shape"),
    "empty": ({"fc.shape": torch.tensor([0, 10])}, "fc.shape that is no shape"),
    "empty bitmask": (
        {"fc.shape": torch.tensor([0, HUGE]), "fc.bitmask": torch.zeros(0, 2, dtype=torch.uint8)}, "fc.shape that is no",
    ),
    "negative": ({"fc.shape": torch.tensor([-2, -10])}, "fc.shape that is no shape"),
    "many dimensions": ({"fc.shape": torch.ones(99, dtype=torch.int64)}, "fc.shape that is no shape"),
    "a shape of fractions": ({"fc.shape": torch.tensor([2.0, 10.0])}, "fc.shape that is no shape"),
    "bits as int64": ({"fc.bitmask": torch.tensor([[2, 2], [9, 1]])}, "fc.bitmask as torch.int64"),
    "a bitmask of one number": ({"fc.bitmask": torch.tensor(2, dtype=torch.uint8)}, "fc.bitmask as torch.uint8 of shape ()"),
    "bits beyond": ({"fc.bitmask": torch.tensor([[2, 6], [9, 0]], dtype=torch.uint8)}, "bits beyond the end of its rows"),
    "offsets": ({"fc.row_offsets": torch.tensor([0, 3])}, "fc.row_offsets that its bitmask does not have"),
    "fewer offsets": ({"fc.row_offsets": torch.tensor([0])}, "fc.row_offsets that"),
    "offsets as floats": ({"fc.row_offsets": torch.tensor([0.0, 2.0])}, "fc.row_offsets that"),
    "twice": ({"fc.weight": FC}, "fc.weight twice"),
    "quantized": ({"fc.compressed": torch.ones(5).to(torch.float8_e4m3fn)}, "float8_e4m3fn, so it is quantized too"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_file_that_lies_is_refused_in_one_sentence(tmp_path, name):
    changes, message = LIES[name]
    path = tmp_path / "w.safetensors"
    save_file({key: t for key, t in {**WRITTEN, **changes}.items() if t is not None}, path)
    for read in (read_bitmask, read_weights):
        with pytest.raises(LehrError) as told:
            read(path)
        assert message in str(told.value)
        assert str(path) in str(told.value)
        assert "\n" not in str(told.value)


@given(st.data())
def test_damage_is_refused_or_leaves_a_file_of_the_same_size(data):
    """Whatever byte is changed: a sentence, or tensors no larger than the bitmasks allow."""
    content = bytearray(save(WRITTEN))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(content)
        file.flush()
        try:
            state, mask = read_bitmask(file.name)
        except LehrError:
            return
    assert all(math.prod(mask[name].shape) <= 8 * len(content) for name in mask)
    assert sum(tensor.nbytes for tensor in state.values()) <= 64 * len(content)


def test_other_files_are_told(tmp_path):
    save_file({"fc.weight": FC}, tmp_path / "dense.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for name, message in (
        ("dense", "has no bitmasks: it is an ordinary file"),
        ("junk", "cannot be read"),
        ("nowhere", "cannot be read"),
    ):
        with pytest.raises(LehrError, match=message):
            read_bitmask(tmp_path / f"{name}.safetensors")
