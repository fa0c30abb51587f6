"""Masks that divide a network: disjoint, together all of it, and even, whatever the granularity."""

from __future__ import annotations

from functools import reduce
from operator import or_

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lehr
from lehr import LehrError, Mask
from lehr.masks.partition import partition
from lehr.models import create


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 5))


def assert_divides(masks: tuple[Mask, ...]) -> None:
    assert reduce(or_, masks).sparsity == 0, "they cover it"
    for i, one in enumerate(masks):
        for other in masks[i + 1 :]:
            assert (one & other).kept == 0, "they are disjoint"


@given(parts=st.integers(2, 6), seed=st.integers(0, 99), scope=st.sampled_from(["layer", "global"]))
def test_parts_are_disjoint_and_cover_and_are_even(parts, seed, scope):
    masks = partition(network(), parts, seed=seed, scope=scope)
    assert_divides(masks)
    kept = [mask.kept for mask in masks]
    assert max(kept) - min(kept) <= (3 if scope == "layer" else 1)
    if scope == "layer":
        for rows in zip(*(mask.layers() for mask in masks), strict=True):
            assert max(row.kept for row in rows) - min(row.kept for row in rows) <= 1, "in every layer"


def test_a_pair_is_a_mask_and_its_complement_also_after_save_and_load(tmp_path):
    one, other = partition(create("lenet5", num_classes=10, input_shape=(1, 28, 28)), 2, seed=3)
    assert other == ~one
    one.save(tmp_path / "one.mask")
    other.save(tmp_path / "other.mask")
    assert Mask.load(tmp_path / "other.mask") == ~Mask.load(tmp_path / "one.mask")


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_seed_deals(scope):
    model = network()
    assert partition(model, 2, seed=1, scope=scope) == partition(model, 2, seed=1, scope=scope)
    assert partition(model, 2, seed=1, scope=scope) != partition(model, 2, seed=2, scope=scope)


def test_layers_of_one_shape_are_dealt_apart():
    one, _ = partition(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), 2)
    assert not torch.equal(one["0.weight"], one["1.weight"])


def test_of_a_convolution_every_four_channels_are_dealt_at_every_place():
    masks = partition(nn.Conv2d(8, 6, 3), 2, granularity="2:4")
    assert_divides(masks)
    for mask in masks:
        assert (mask["weight"].reshape(6, 2, 4, 3, 3).sum(2) == 2).all()


@pytest.mark.parametrize(("granularity", "parts"), [("filter", 2), ("block:2x2", 3), ("2:4", 2), ("1:4", 4)])
def test_granules_are_dealt_whole(granularity, parts):
    masks = partition(network(), parts, granularity=granularity, exclude_modules=["4"])
    assert_divides(masks)
    assert {mask.granularity for mask in masks} == {granularity}
    if granularity == "2:4":
        for mask in masks:
            assert all((keep.reshape(-1, 4).sum(1) == 2).all() for keep in mask.values())
    if granularity == "filter":
        assert all((keep.all(1) | ~keep.any(1)).all() for mask in masks for keep in mask.values())


def test_places_are_fair():
    model = nn.Linear(20, 20, bias=False)
    counts = sum(partition(model, 4, seed=seed)[0]["weight"].double() for seed in range(400))
    assert abs(float(counts.mean()) - 100) < 1e-9
    assert float(counts.max()) < 100 + 5 * 75**0.5, "no place is drawn too often"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 1}, "parts is 1: give a whole number from 2"),
        ({"parts": 2.0}, "parts is 2.0"),
        ({"parts": 60}, "part .* of 60 has no weight in 4.weight: give fewer parts, or exclude the layer"),
        (
            {"parts": 4, "granularity": "2:4", "exclude_modules": ["4"]},
            "2:4 divides a layer into 2 parts and not into 4",
        ),
    ],
)
def test_what_cannot_be_divided_is_one_sentence(options, message):
    with pytest.raises(LehrError, match=message):
        lehr.partition(network(), **options)
