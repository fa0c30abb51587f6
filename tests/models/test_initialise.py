"""ZerO is what its definition says, for any shape, and a network learns from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import lehr
from lehr import LehrError
from lehr.models import create, initialise
from lehr.models.initialise import matrix, orthogonal


def reference(m: int, n: int) -> np.ndarray:
    """Algorithm 1 in plain numbers; the Hadamard matrix by its recursion."""
    eye = np.zeros((m, n))
    if m <= n:
        eye[range(m), range(m)] = 1
        return eye
    size = 2 ** math.ceil(math.log2(m))
    h = np.array([[1.0]])
    while len(h) < size:
        h = np.block([[h, h], [h, -h]])
    return h[:m, :n] / 2 ** (math.ceil(math.log2(m)) / 2)


@given(st.integers(1, 70), st.integers(1, 70))
def test_the_matrix_is_the_algorithms(m, n):
    assert np.allclose(matrix(m, n).numpy(), reference(m, n), atol=1e-7)


@pytest.mark.parametrize(("m", "n"), [(8, 3), (16, 16), (4, 9), (64, 64), (64, 5)])
def test_it_keeps_lengths(m, n):
    x = torch.randn(n)
    x[m:] = 0  # what a partial identity leaves out
    assert torch.allclose((matrix(m, n) @ x).norm(), x.norm(), rtol=1e-5)


def test_convolutions_have_it_at_the_centre_by_group():
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, (1, 2), groups=4), nn.Conv1d(6, 3, 5), nn.Conv2d(8, 8, 3, groups=8)
    )
    initialise(model, "zero")
    assert torch.equal(model[0].weight[:, :, 1, 1], matrix(8, 4))
    assert torch.equal(model[1].weight[:, :, 0, 0], matrix(2, 2).repeat(4, 1))
    assert torch.equal(model[2].weight[:, :, 2], matrix(3, 6))
    assert model[3].weight[:, 0, 1, 1].tolist() == [1.0] * 8
    for module in model:
        centre = module.weight[(slice(None), slice(None), *((n - 1) // 2 for n in module.weight.shape[2:]))]
        assert int((module.weight != 0).sum()) == int((centre != 0).sum()), "all other taps are 0"
        assert not module.bias.any()


def test_nothing_is_random_and_norms_are_left_alone():
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(initialise(create("resnet20", num_classes=10), "zero"))
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all((m.weight == 1).all() for m in models[0].modules() if isinstance(m, nn.BatchNorm2d))


def test_exact_zeros_are_no_mask():
    model = initialise(create("lenet_300_100", num_classes=10, input_shape=(1, 8, 8)), "zero")
    zeros = {name: p == 0 for name, p in model.named_parameters()}
    mask = lehr.select(model, 0.5)
    assert mask.kept == mask.size - round(0.5 * mask.size), "more than are not zero"
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with lehr.attach(model, optimizer, lehr.OneShot(mask)):
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(torch.randn(32, 1, 8, 8)), torch.randint(0, 10, (32,))).backward()
            optimizer.step()
    grown = sum(
        int((zeros[name] & kept & (dict(model.named_parameters())[name] != 0)).sum()) for name, kept in mask.items()
    )
    assert grown > 0, "kept weights that began at 0 learn"


def test_a_wide_network_breaks_the_symmetry_in_training():
    """With identities alone the change of an expanding layer stays of the input's rank; with Hadamard's it does not."""
    torch.manual_seed(0)
    x, y = torch.randn(256, 8), torch.randint(0, 4, (256,))

    def rank_of_change(model: nn.Sequential) -> int:
        before = model[2].weight.detach().clone()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        values = torch.linalg.svdvals(model[2].weight.detach() - before)
        return int((values > 1e-4 * values[0]).sum())

    def network() -> nn.Sequential:
        return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    hadamard = initialise(network(), "zero")
    identity = initialise(network(), "zero")
    with torch.no_grad():
        identity[0].weight.copy_(torch.eye(32, 8))
    assert rank_of_change(identity) <= 8
    assert rank_of_change(hadamard) > 8


def test_an_unknown_initialisation_is_told():
    with pytest.raises(LehrError, match="there is no initialisation 'zer0': did you mean 'zero'"):
        initialise(nn.Linear(1, 1), "zer0")


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 5))
def test_the_orthogonal_matrix_keeps_lengths_and_has_no_two_rows_alike(m, n, seed):
    torch.manual_seed(seed)
    found = orthogonal(m, n)
    if m <= n:
        assert torch.equal(found, matrix(m, n))
        return
    assert torch.allclose(found.T @ found, torch.eye(n), atol=1e-5)
    assert len(torch.unique(found, dim=0)) == m


def widening() -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def without_signal(model: nn.Module) -> int:
    """Outputs of the last convolution that do not vary, to rounding."""
    with torch.no_grad():
        out = model[:7](torch.randn(16, 3, 8, 8))
    return int((out.var((0, 2, 3)) < 1e-9).sum())


def test_widening_twice_leaves_channels_without_a_signal_unless_they_are_orthogonal():
    torch.manual_seed(0)
    assert without_signal(initialise(widening(), "zero")) >= 32
    assert without_signal(initialise(widening(), "zero-orthogonal")) == 0


def test_draws_differ_by_seed_and_by_layer():
    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4), nn.Linear(4, 8))
        return [p.detach().clone() for p in initialise(model, "zero-orthogonal").parameters() if p.ndim == 2]

    first, again, other = weights(0), weights(0), weights(1)
    assert all(map(torch.equal, first, again))
    assert torch.equal(first[1], matrix(4, 8))
    assert not torch.equal(first[0], first[2])
    assert not torch.equal(first[0], other[0])
