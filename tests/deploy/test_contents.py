"""Between a network with its mask and what a file holds: the same bits, tied tensors once, mistakes told."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lehr import LehrError, Mask, select
from lehr.deploy.contents import mask_of, plain, state_dict_of, stored_tensors


class Tied(nn.Module):
    """A head that is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.body, self.head = nn.Embedding(6, 4), nn.Linear(4, 4), nn.Linear(4, 6, bias=False)
        self.head.weight = self.tokens.weight


def layer(*values: float) -> nn.Linear:
    made = nn.Linear(len(values), 1, bias=False)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([values]))
    return made


def test_by_hand():
    net = layer(1.5, 0.0, -2.0)
    stored = stored_tensors(net, Mask({"weight": torch.tensor([[True, True, False]])}).apply_(net))["weight"]
    assert (stored.dtype, stored.shape, stored.granularity, stored.cells) == ("F32", (1, 3), "unstructured", None)
    assert stored.places.tolist() == [0, 1], "a kept weight that is 0 is kept"
    assert stored.values.tolist() == [1.5, 0.0]
    assert stored_tensors(net, None)["weight"].places is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_dtype_comes_back_bit_for_bit(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)).to(dtype)
    net.register_buffer("table", torch.tensor([[True, False]]))
    net.register_buffer("bytes", torch.tensor([0, 255], dtype=torch.uint8))
    mask = select(net, 0.75).apply_(net)
    found = stored_tensors(net, mask)
    back = state_dict_of(found)
    assert back.keys() == net.state_dict().keys()
    for name, tensor in net.state_dict().items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor), name
    assert mask_of(found) == mask
    assert back["1.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("granularity", ["unstructured", "2:4", "block:2x2", "filter"])
def test_every_granularity_comes_back(granularity):
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 4, 1))
    mask = select(net, None if granularity == "2:4" else 0.5, granularity=granularity, scope=scope(granularity))
    found = stored_tensors(net, mask.apply_(net))
    assert mask_of(found) == mask
    assert mask_of(found).granularities == mask.granularities


def scope(granularity: str) -> str:
    return "global" if granularity == "2:4" else "layer"


def test_heads_come_back():
    attention = nn.MultiheadAttention(8, 4)
    mask = select(attention, 0.5, granularity="head").apply_(attention)
    found = stored_tensors(attention, mask)
    assert mask_of(found) == mask
    assert mask_of(found).granularities == mask.granularities


@pytest.mark.parametrize("name", ["tokens.weight", "head.weight"])
def test_a_tied_weight_is_stored_once_under_either_name(name):
    net = Tied()
    mask = Mask({name: torch.rand(6, 4) < 0.5}).apply_(net)
    found = stored_tensors(net, mask)
    other = ({"tokens.weight", "head.weight"} - {name}).pop()
    assert (found[name].same, found[other].same) == (None, name)
    assert list(found).index(name) < list(found).index(other)
    back = state_dict_of(found)
    assert back[name] is back[other]
    assert torch.equal(back[name], net.tokens.weight)
    assert mask_of(found) == mask
    fresh = Tied()
    fresh.load_state_dict(back, strict=True)
    assert fresh.head.weight is fresh.tokens.weight


def test_slices_of_one_tensor_are_two():
    net = nn.Module()
    whole = torch.arange(6.0)
    net.register_buffer("first", whole[:3])
    net.register_buffer("second", whole[3:])
    net.register_buffer("across", whole.reshape(2, 3).T)
    found = stored_tensors(net, None)
    assert all(stored.same is None for stored in found.values())
    assert torch.equal(state_dict_of(found)["across"], whole.reshape(2, 3).T)


def test_a_tensor_read_can_be_written_to():
    for tensor in state_dict_of(stored_tensors(nn.Linear(2, 2), None)).values():
        tensor.add_(1)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            {"weight": torch.tensor([[True, False, True]])},
            "1 weights of weight outside its mask are not 0: end the ann",
        ),
        ({"weight": torch.tensor([[True]])}, r"weight has shape \(1, 3\) and its mask \(1, 1\)"),
        ({"wieght": torch.tensor([True])}, "did you mean 'weight'"),
    ],
)
def test_a_mask_that_is_not_that_of_the_network_is_told(mask, message):
    with pytest.raises(LehrError, match=message):
        stored_tensors(layer(1, 2, 3), Mask(mask))


def test_nan_outside_the_mask_is_told():
    with pytest.raises(LehrError, match="outside its mask are not 0"):
        stored_tensors(layer(1, float("nan")), Mask({"weight": torch.tensor([[True, False]])}))


def test_what_a_file_cannot_hold_is_told():
    net = nn.Module()
    net.register_buffer("phase", torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(
        LehrError, match=r"phase is torch.complex64, which a file cannot hold: convert it to one of F64"
    ):
        stored_tensors(net, None)
    net = nn.Linear(2, 2, device="meta")
    with pytest.raises(LehrError, match="weight of the state dict is no ordinary tensor"):
        stored_tensors(net, None)
    net = nn.Module()
    net.register_buffer("thin", torch.eye(3).to_sparse())
    with pytest.raises(LehrError, match="thin of the state dict is no ordinary tensor"):
        stored_tensors(net, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {"a": {3}}, torch.zeros(1), b"bytes"])
def test_what_is_not_plain_is_told(value):
    with pytest.raises(LehrError, match="provenance holds .*: give texts, numbers, lists and mappings only"):
        plain({"key": [value]}, "provenance")
