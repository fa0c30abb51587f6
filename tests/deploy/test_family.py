"""Families as files: every member back to the bit, partitions at the entropy of their labels, and the engine runs them."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
import torch
from torch import nn

import lehr
from lehr import Ensemble, LehrError, Mask
from lehr.deploy.contents import state_dict_of
from lehr.models import create
from lehr.runtime import load_nets
from lehr.runtime.file import read
from lehr.runtime.native import available
from lehr.runtime.nets import member_tensors
from tests.runtime.forged import file_of

SIZES = {"num_classes": 10, "input_shape": (3, 16, 16)}


def members(count: int, granularity: str = "unstructured") -> tuple[list[torch.nn.Module], tuple[Mask, ...]]:
    torch.manual_seed(0)
    networks = [create("resnet20", **SIZES).eval() for _ in range(count)]
    masks = lehr.partition(networks[0], count, granularity=granularity)
    for network, mask in zip(networks, masks, strict=True):
        mask.apply_(network)
    return networks, masks


def alone_in(file, number: int) -> dict[str, torch.Tensor]:
    """The tensors of one member, by no other's network."""
    return state_dict_of(member_tensors(read(file).tensors, number))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_member_comes_back_to_the_bit(tmp_path, count):
    networks, masks = members(count)
    file = tmp_path / "family.lehr"
    saved = lehr.save_family(networks, file, masks=masks, architecture=("resnet20", SIZES))
    assert saved.size == file.stat().st_size
    found, kept = lehr.load_family(file)
    assert tuple(kept) == masks
    for i, (one, other) in enumerate(zip(networks, found, strict=True)):
        alone = alone_in(file, i)
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name])
            assert torch.equal(tensor, alone[name])


def test_a_partition_stores_each_weight_once_and_its_masks_at_the_entropy_of_the_labels(tmp_path):
    networks, masks = members(4)
    saved = lehr.save_family(networks, tmp_path / "family.lehr", masks=masks)
    weights = masks[0].size
    dense = sum(
        4 * t.numel()
        for net in networks
        for name, t in net.state_dict().items()
        if name not in masks[0] and t.is_floating_point()
    )
    assert saved.bound < 4 * weights + dense + log2(4) * weights / 8 + 3000
    assert saved.size < 1.02 * saved.bound + 4096


def test_of_a_pair_the_second_mask_costs_nothing(tmp_path):
    networks, masks = members(2)
    lehr.save_family(networks, tmp_path / "pair.lehr", masks=masks)
    for name, tensor in read(tmp_path / "pair.lehr").tensors.items():
        if name.startswith("1/") and tensor.places is not None:
            assert tensor.outside == (f"0/{name[2:]}",)


@pytest.mark.parametrize("granularity", ["unstructured", "filter"])
def test_equal_masks_are_there_once(tmp_path, granularity):
    networks, _ = members(3)
    mask = lehr.select(networks[0], 0.5, granularity=granularity)
    for network in networks:
        mask.apply_(network)
    one = lehr.save_family(networks[:1], tmp_path / "one.lehr", masks=[mask])
    three = lehr.save_family(networks, tmp_path / "three.lehr", masks=[mask] * 3, architecture=("resnet20", SIZES))
    head = sum(p.numel() for name, p in networks[0].named_parameters() if name.startswith("head") and name not in mask)
    assert three.bound - one.bound == 2 * 4 * (mask.kept + head), "values alone"
    found, told = lehr.load_family(tmp_path / "three.lehr")
    assert all(own == mask for own in told)
    for network, back in zip(networks, found, strict=True):
        assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in network.state_dict().items())
    tensors = read(tmp_path / "three.lehr").tensors
    assert all(
        tensor.alike == f"0/{name[2:]}"
        for name, tensor in tensors.items()
        if name[0] in "12" and tensor.places is not None
    )


def test_members_that_overlap_come_back_and_are_outside_of_those_that_do_not(tmp_path):
    """The first two share a weight and the third has none of theirs: it is told outside of one of them, not of both."""
    kept = [[1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0]]
    masks = [Mask({"weight": torch.tensor([one] * 16, dtype=torch.bool)}) for one in kept]
    networks = [torch.nn.Linear(8, 16, bias=False) for _ in masks]
    for network, mask in zip(networks, masks, strict=True):
        mask.apply_(network)
    file = tmp_path / "family.lehr"
    lehr.save_family(networks, file, masks=masks)
    assert [tensor.outside for tensor in read(file).tensors.values()] == [(), (), ("0/weight",)]
    found, told = lehr.load_family(file, [torch.nn.Linear(8, 16, bias=False) for _ in masks])
    assert told == masks
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(found, networks, strict=True))


def test_what_members_share_is_there_once(tmp_path):
    network = create("lenet5", num_classes=10, input_shape=(1, 28, 28))
    mask = lehr.prune(network, 0.5)
    one = lehr.save_family([network], tmp_path / "one.lehr", masks=[mask]).size
    dense = [create("lenet5", num_classes=10, input_shape=(1, 28, 28))] * 3
    three = lehr.save_family(dense, tmp_path / "three.lehr", masks=[None] * 3).size
    assert three < 1.02 * sum(4 * p.numel() for p in dense[0].parameters()) + 4096
    assert one < three


def test_tensors_that_a_member_ties_are_tied_in_it_and_in_no_other(tmp_path):
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(40, 40, bias=False), torch.nn.Linear(40, 40, bias=False)
            self.second.weight = self.first.weight

    networks = [Tied(), Tied()]
    saved = lehr.save_family(networks, tmp_path / "tied.lehr", masks=[None, None])
    assert saved.size < 2 * 4 * 1600 + 2000, "once for each member"
    found, _ = lehr.load_family(tmp_path / "tied.lehr", [Tied(), Tied()])
    for one, other in zip(networks, found, strict=True):
        assert torch.equal(one.first.weight, other.first.weight)
        assert torch.equal(one.first.weight, other.second.weight)


def test_values_are_of_the_kind_that_is_asked_for(tmp_path):
    networks, masks = members(2)
    sizes = {
        kind: lehr.save_family(networks, tmp_path / kind, masks=masks, values=kind).size for kind in ("fp32", "fp16")
    }
    weights = 2 * masks[0].kept
    assert sizes["fp32"] - sizes["fp16"] == pytest.approx(2 * weights, rel=0.02)


def test_members_that_are_computed_in_different_ways_have_no_graph(tmp_path):
    networks = [torch.nn.Sequential(torch.nn.Linear(4, 3), act).eval() for act in (torch.nn.ReLU(), torch.nn.Tanh())]
    saved = lehr.save_family(networks, tmp_path / "two.lehr", masks=[None, None], example_inputs=torch.zeros(1, 4))
    assert saved.unknown == ("the members are computed in different ways",)
    assert read(tmp_path / "two.lehr").graph is None


def test_members_keep_a_type_of_their_own(tmp_path):
    networks = [torch.nn.Linear(4, 3), torch.nn.Linear(4, 3).half()]
    for network in networks:
        torch.nn.init.zeros_(network.bias)
    lehr.save_family(networks, tmp_path / "two.lehr", masks=[None, None])
    assert [alone_in(tmp_path / "two.lehr", i)["bias"].dtype for i in (0, 1)] == [torch.float32, torch.float16]


def test_granules_are_told_by_granules(tmp_path):
    networks, masks = members(2, "filter")
    lehr.save_family(networks, tmp_path / "filters.lehr", masks=masks, architecture=("resnet20", SIZES))
    _, kept = lehr.load_family(tmp_path / "filters.lehr")
    assert [mask.granularity for mask in kept] == ["filter", "filter"]


@pytest.mark.skipif(not available(), reason="the engine was not built")
def test_the_engine_runs_the_members_out_of_the_file(tmp_path):
    networks, masks = members(2)
    x = torch.randn(3, *SIZES["input_shape"])
    saved = lehr.save_family(networks, tmp_path / "family.lehr", masks=masks, example_inputs=x[:1])
    assert saved.unknown == ()
    nets = load_nets(tmp_path / "family.lehr", threads=1)
    with torch.no_grad():
        ensemble = Ensemble(networks)
        np.testing.assert_allclose(nets.members(x.numpy()), ensemble.members(x).numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(nets(x.numpy()), ensemble(x).numpy(), rtol=1e-4, atol=1e-4)
    with pytest.raises(LehrError, match="it holds a family"):
        lehr.runtime.load(tmp_path / "family.lehr")


def test_what_cannot_be_a_family_is_one_sentence(tmp_path):
    networks, masks = members(2)
    file = tmp_path / "family.lehr"
    with pytest.raises(LehrError, match="a family has no members"):
        lehr.save_family([], file, masks=[])
    with pytest.raises(LehrError, match="2 networks have 1 masks: give one for each"):
        lehr.save_family(networks, file, masks=masks[:1])
    with pytest.raises(LehrError, match="member 1 has other tensors than the first"):
        lehr.save_family([torch.nn.Linear(4, 3), torch.nn.Linear(5, 3)], file, masks=[None, None])
    lehr.save_family(networks, file, masks=masks)
    with pytest.raises(LehrError, match="does not say how its network is built"):
        lehr.load_family(file)
    with pytest.raises(LehrError, match="has 2 members: give as many models"):
        lehr.load_family(file, networks[:1])
    with pytest.raises(LehrError, match="it holds no graph: save it with example inputs"):
        load_nets(file)
    with pytest.raises(LehrError, match=r"holds a family of networks: open it with lehr.load_family"):
        lehr.load(file)
    lehr.save(networks[0], tmp_path / "one.lehr", mask=masks[0])
    with pytest.raises(LehrError, match=r"holds one network and no family: open it with lehr.load"):
        lehr.load_family(tmp_path / "one.lehr")


@pytest.mark.parametrize("count", [-1, 10**9, "two", 1.5])
def test_a_file_that_lies_about_its_members_is_refused(tmp_path, count):
    file = tmp_path / "lie.lehr"
    file.write_bytes(file_of([{"name": "0/b", "dtype": "F32", "shape": [1]}], b"\0" * 4, {"members": count}))
    with pytest.raises(LehrError, match="has .* members"):
        lehr.load_family(file, [])
    with pytest.raises(LehrError, match="has .* members"):
        load_nets(file)


def test_zeros_keep_their_sign(tmp_path):
    networks = [nn.Linear(2, 2) for _ in range(2)]
    networks[0].bias.data.zero_()
    networks[1].bias.data.fill_(-0.0)
    lehr.save_family(networks, tmp_path / "family.lehr", masks=[lehr.prune(net, 0.5) for net in networks])
    for number, sign in enumerate((False, True)):
        assert alone_in(tmp_path / "family.lehr", number)["bias"].signbit().tolist() == [sign, sign]
