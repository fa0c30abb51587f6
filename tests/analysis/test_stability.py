"""Distances on the weights of a mask, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from lehr import LehrError, Mask
from lehr.analysis import distance, overlap, travel

MASK = Mask({"a": torch.tensor([[True, False], [True, True]]), "b": torch.tensor([False, True])})
A = {"a": torch.tensor([[1.0, 100.0], [2.0, 2.0]]), "b": torch.tensor([7.0, 4.0]), "bias": torch.ones(3)}
B = {"a": torch.tensor([[2.0, -5.0], [0.0, 2.0]]), "b": torch.tensor([-1.0, 1.0]), "bias": torch.zeros(3)}


def test_l2_and_angle_by_hand():
    found = distance(A, B, MASK)
    assert found.l2 == pytest.approx(math.sqrt(1 + 4 + 0 + 9))
    cosine = (1 * 2 + 2 * 0 + 2 * 2 + 4 * 1) / (math.sqrt(1 + 4 + 4 + 16) * math.sqrt(4 + 0 + 4 + 1))
    assert found.angle == pytest.approx(math.degrees(math.acos(cosine)))
    assert distance(A, A, MASK).l2 == 0.0


def test_nothing_but_the_masked_weights_counts():
    other = {"a": A["a"].clone(), "b": A["b"].clone()}
    other["a"][0, 1] = 0.0
    other["b"][0] = -9.0
    assert distance(A, other, MASK).l2 == 0.0


def test_unrelated_weights_are_at_right_angles():
    generator = torch.Generator().manual_seed(0)
    x, y = ({"w": torch.randn(100_000, generator=generator)} for _ in range(2))
    mask = Mask({"w": torch.rand(100_000, generator=generator) < 0.2})
    found = distance(x, y, mask)
    assert found.angle == pytest.approx(90.0, abs=1.5)
    assert found.l2 == pytest.approx(math.sqrt(2 * mask.kept), rel=0.02)
    assert distance(x, {"w": torch.zeros(100_000)}, mask).angle == 90.0
    assert distance(x, {"w": -x["w"]}, mask).angle == pytest.approx(180.0)


def test_travel_by_layer():
    found = travel(A, B, MASK)
    assert found["a"] == pytest.approx(math.sqrt(1 + 4) / 3)
    assert found["b"] == pytest.approx(3 / 4)
    assert travel({"w": torch.zeros(1)}, {"w": torch.ones(1)}, Mask({"w": torch.tensor([True])})) == {"w": math.inf}


def test_overlap_by_layer():
    other = Mask({"a": torch.tensor([[True, True], [False, True]]), "b": torch.tensor([True, False])})
    assert overlap(MASK, other) == {"a": 2 / 4, "b": 0.0}
    assert overlap(MASK, MASK) == {"a": 1.0, "b": 1.0}


def test_another_network_is_one_sentence():
    with pytest.raises(LehrError, match="a of the mask is missing, or of another shape"):
        distance({"a": torch.ones(3)}, A, MASK)
    with pytest.raises(LehrError, match="b of the mask is missing"):
        travel(A, {"a": B["a"]}, MASK)
