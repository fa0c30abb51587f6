import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import save_file
from torch import nn

from lehr import LehrError, Mask

bools = arrays(np.bool_, array_shapes(min_dims=1, max_dims=4, max_side=9)).map(lambda a: torch.from_numpy(a.copy()))


@st.composite
def pairs(draw):
    a = draw(bools)
    b = torch.from_numpy(draw(arrays(np.bool_, tuple(a.shape))).copy())
    return Mask({"w": a}), Mask({"w": b}), a, b


@given(pairs())
def test_algebra_is_that_of_bool_tensors(case):
    m, n, a, b = case
    assert torch.equal(m["w"], a)
    assert torch.equal((~m)["w"], ~a)
    assert torch.equal((m & n)["w"], a & b)
    assert torch.equal((m | n)["w"], a | b)
    assert torch.equal((m - n)["w"], a & ~b)
    assert m.kept == int(a.sum())
    assert (~m).kept == a.numel() - m.kept
    assert m.hamming(n) == int((a ^ b).sum()) == n.hamming(m)
    union = int((a | b).sum())
    assert m.jaccard(n) == pytest.approx(1 - int((a & b).sum()) / union if union else 0.0)
    assert (m == n) == bool((a == b).all()) == (m.digest == n.digest)
    assert hash(m) == hash(Mask({"w": a}))


@given(bools)
def test_files_and_pickles_give_it_back(tensor):
    m = Mask({"a.weight": tensor, "b": torch.tensor([True])})
    assert pickle.loads(pickle.dumps(m)) == m
    assert Mask.load(m.save("/tmp/_lehr_test.mask")) == m


def test_it_cannot_be_changed():
    tensor = torch.tensor([True, False])
    m = Mask({"w": tensor})
    tensor[1] = True
    m["w"][1] = True
    assert m["w"].tolist() == [True, False]
    with pytest.raises(TypeError):
        m["w2"] = tensor
    with pytest.raises(ValueError, match="read-only"):
        m._packed["w"][0] = 255


def test_by_hand():
    m = Mask({"a": torch.tensor([[True, False], [False, False]]), "b": torch.tensor([True, True])})
    assert (m.kept, m.size, m.density, m.sparsity) == (3, 6, 0.5, 0.5)
    assert [(r.name, r.kept, r.size, r.density) for r in m.layers()] == [("a", 1, 4, 0.25), ("b", 2, 2, 1.0)]
    assert repr(m) == "Mask(3 of 6 weights in 2 layers, 50 % sparse)"


def test_apply_clears_everything_outside_even_nan():
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight[0, 0] = float("nan")
        layer.weight[0, 1] = -0.0
    m = Mask({"weight": torch.tensor([[False, False], [True, True]])})
    bias, kept = layer.bias.clone(), layer.weight[1].clone()
    assert m.apply_(layer) is m
    assert layer.weight[0].tolist() == [0.0, 0.0]
    assert not torch.signbit(layer.weight[0]).any()
    assert torch.equal(layer.weight[1], kept)
    assert torch.equal(layer.bias, bias)


def test_zeros_become_a_mask_only_when_asked():
    layer = nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 1.0, -2.0]]))
    assert Mask.from_zeros(layer)["weight"].tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mask({"w": torch.ones(2)}), "the mask of w is torch.float32: give a bool tensor"),
        (lambda: Mask({"w": [True]}), "the mask of w is list: give a bool tensor"),
        (lambda: Mask({3: torch.tensor([True])}), "a mask's name is 3"),
        (lambda: Mask({"weight": torch.tensor([True])}).apply_(nn.Linear(2, 1)), "weight has shape"),
        (lambda: Mask({"wieght": torch.tensor([True])}).apply_(nn.Linear(2, 1)), "did you mean 'weight'"),
        (lambda: Mask({"a": torch.tensor([True])}) & Mask({"b": torch.tensor([True])}), "only one of the two masks"),
        (lambda: Mask({"a": torch.tensor([True])}) | Mask({"a": torch.tensor([[True]])}), "have shapes"),
        (lambda: Mask.load("/nowhere/x"), "there is no mask file"),
    ],
)
def test_misuse_is_one_clear_sentence(make, message):
    with pytest.raises(LehrError, match=message):
        make()


def damaged(path, tensors, metadata):
    save_file(tensors, path, metadata)
    return path


@pytest.mark.parametrize(
    ("tensors", "shapes"),
    [
        ({"w": np.zeros(1, np.uint8)}, '{"w": [99]}'),
        ({"w": np.zeros(1, np.uint8)}, '{"w": [-8]}'),
        ({"w": np.zeros(1, np.uint8)}, '{"w": ["8"]}'),
        ({"w": np.zeros(1, np.uint8)}, '{"w": [99999999999999999999]}'),
        ({"w": np.zeros(1, np.uint8)}, '{"v": [8]}'),
        ({"w": np.full(1, 255, np.uint8)}, '{"w": [3]}'),
        ({"w": np.zeros(1, np.float32)}, '{"w": [8]}'),
        ({"w": np.zeros(1, np.uint8)}, "[]"),
        ({"w": np.zeros(1, np.uint8)}, "{"),
    ],
)
def test_a_file_that_lies_is_refused(tmp_path, tensors, shapes):
    path = damaged(tmp_path / "m", tensors, {"lehr": f'{{"format": "lehr-mask-1", "shapes": {shapes}}}'})
    with pytest.raises(LehrError, match="is damaged"):
        Mask.load(path)


def test_foreign_and_truncated_files_are_refused(tmp_path):
    path = damaged(tmp_path / "m", {"w": np.zeros(1, np.uint8)}, {})
    with pytest.raises(LehrError, match="is not a mask of lehr"):
        Mask.load(path)
    good = Mask({"w": torch.ones(1000, dtype=torch.bool)}).save(tmp_path / "good").read_bytes()
    for end in (0, 5, 60, len(good) - 1):
        (tmp_path / "cut").write_bytes(good[:end])
        with pytest.raises(LehrError, match="cannot be read as a mask"):
            Mask.load(tmp_path / "cut")
