"""Losses against their formulas, written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lehr.training.losses import distillation_loss, rows, task_loss


def softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    top = max(row)
    powers = [math.exp((x - top) / temperature) for x in row]
    return [p / sum(powers) for p in powers]


def cross_entropy(logits: Tensor, targets: Tensor) -> float:
    pairs = list(zip(rows(logits).tolist(), targets.reshape(-1).tolist(), strict=True))
    return sum(-math.log(softmax(row)[target]) for row, target in pairs) / len(pairs)


def divergence(logits: Tensor, teacher: Tensor, temperature: float) -> float:
    """Mean over all predictions of sum p log(p / q), p the teacher's."""
    total = 0.0
    for own, other in zip(rows(logits).tolist(), rows(teacher).tolist(), strict=True):
        q, p = softmax(own, temperature), softmax(other, temperature)
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(rows(logits))


def random(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits, teacher = torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
    return logits, teacher, torch.randint(0, shape[-1], shape[:-1], generator=generator)


SHAPES = [(5, 3), (1, 2), (2, 4, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_task_loss(shape):
    logits, _, targets = random(shape)
    assert float(task_loss(logits, targets)) == pytest.approx(cross_entropy(logits, targets), rel=1e-5)


def test_task_loss_by_hand():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    assert float(task_loss(logits, torch.tensor([1, 0]))) == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


@given(
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 10**6),
    weight=st.floats(0, 1),
    temperature=st.floats(0.5, 20),
)
def test_distillation_loss(shape, seed, weight, temperature):
    logits, teacher, targets = random(shape, seed)
    hard, soft = cross_entropy(logits, targets), divergence(logits, teacher, temperature)
    expected = (1 - weight) * hard + weight * temperature**2 * soft
    found = float(distillation_loss(logits, teacher, targets, weight, temperature))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5 + 2e-7 * temperature**2)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_ends_of_the_weight(shape):
    logits, teacher, targets = random(shape)
    assert float(distillation_loss(logits, teacher, targets, 0.0, 4.0)) == float(task_loss(logits, targets))
    pull = float(distillation_loss(logits, teacher, targets, 1.0, 3.0))
    assert pull == pytest.approx(9 * divergence(logits, teacher, 3.0), rel=1e-5)
    other = (targets + 1) % shape[-1]
    assert float(distillation_loss(logits, teacher, other, 1.0, 3.0)) == pull, "targets no longer count"


def test_gradients_do_not_shrink_with_the_temperature():
    """What the factor T^2 is for (Hinton et al., section 2.1): at a high temperature the gradient nears (z - v) / N."""
    logits, teacher, targets = random((1, 4))
    logits.requires_grad_()
    distillation_loss(logits, teacher, targets, 1.0, 1000.0).backward()
    difference = (logits - logits.mean() - teacher + teacher.mean()).detach() / 4
    assert logits.grad.allclose(difference, atol=1e-3)


def test_half_precision_is_summed_in_single():
    logits, teacher, targets = random((4, 3))
    for loss in (
        task_loss(logits.bfloat16(), targets),
        distillation_loss(logits.bfloat16(), teacher, targets, 0.5, 2.0),
    ):
        assert loss.dtype == torch.float32
