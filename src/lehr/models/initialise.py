"""Initialisations by name: what a network's weights are before the first step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scipy.linalg import hadamard
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lehr.base.registry import Registry

initialisations: Registry[Callable[[nn.Module], nn.Module]] = Registry("initialisation")
"""Functions that set a network's weights in place, and give it back."""


@initialisations.register("default")
def default(model: nn.Module) -> nn.Module:
    """What the network's own code has made."""
    return model


@initialisations.register("zero")
def zero(model: nn.Module) -> nn.Module:
    """ZerO: identities and Hadamard transforms, nothing random (Zhao et al. 2022, 2110.12661).

    A weight of m outputs and n inputs becomes ``I_(m,n)`` where m <= n, else ``I_(m,p) H_p I_(p,n) / sqrt(p)`` with
    ``p = 2^ceil(log2 m)`` and the Hadamard matrix H: partial identities. Convolutions have that at the centre of the kernel and 0
    elsewhere (by group), biases are 0; norms and embeddings are left alone.

    The factor is that of the authors' notebook, ``2^(-ceil(log2 m) / 2)``, with which the Hadamard transform keeps lengths; the
    text of the paper can be read as larger by ``sqrt(2)``.

    Seeds then differ in the order of the data alone. Most weights are exactly 0, which is not a mask: `lehr.select` and every method
    treat them as weights like any other.

    >>> layer = zero(nn.Linear(2, 4))
    >>> (2 * layer.weight).int().tolist()
    [[1, 1], [1, -1], [1, 1], [1, -1]]
    """
    return _with(model, matrix)


@initialisations.register("zero-orthogonal")
def zero_orthogonal(model: nn.Module) -> nn.Module:
    """ZerO with random orthogonal matrices where layers widen, and `zero` everywhere else.

    After one widening layer of ZerO channels are copies of each other, in periods of a power of two, and the Hadamard transform of
    the next takes all but a few to 0 exactly. A batch-norm multiplies what is left of them, rounding errors, by up to 300, and
    their gradients too: a narrow VGG-16 does not train from `zero`. Orthogonal matrices, drawn from torch's generator (Saxe et al. 2014,
    1312.6120), keep lengths as well and leave neither copies nor channels without a signal. Ours, not the paper's; where no
    layer widens the two are the same.

    >>> _ = torch.manual_seed(0)
    >>> layer = zero_orthogonal(nn.Linear(2, 4))
    >>> torch.allclose(layer.weight.T @ layer.weight, torch.eye(2), atol=1e-6)
    True
    """
    return _with(model, orthogonal)


def _with(model: nn.Module, matrix_of: Callable[[int, int], Tensor]) -> nn.Module:
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(matrix_of(*module.weight.shape))
            elif isinstance(module, _ConvNd) and not module.transposed:
                _convolution(module, matrix_of)
            else:
                continue
            if module.bias is not None:
                module.bias.zero_()
    return model


def matrix(outputs: int, inputs: int) -> Tensor:
    """ZerO's matrix, (outputs, inputs).

    >>> matrix(2, 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if outputs <= inputs:
        return torch.eye(outputs, inputs)
    p = 1 << (outputs - 1).bit_length()
    whole = torch.from_numpy(hadamard(p)).to(torch.float32) / p**0.5
    result: Tensor = torch.eye(outputs, p) @ whole @ torch.eye(p, inputs)
    return result


def orthogonal(outputs: int, inputs: int) -> Tensor:
    """Random with orthonormal columns where outputs > inputs, else `matrix`: (outputs, inputs).

    >>> orthogonal(2, 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if outputs <= inputs:
        return matrix(outputs, inputs)
    result: Tensor = nn.init.orthogonal_(torch.empty(outputs, inputs))
    return result


def _convolution(module: _ConvNd, matrix_of: Callable[[int, int], Tensor]) -> None:
    weight: Tensor = module.weight
    outputs, inputs = weight.shape[0] // module.groups, weight.shape[1]
    weight.zero_()
    for axis, size in enumerate(weight.shape[2:]):
        weight = weight.narrow(2 + axis, (size - 1) // 2, 1)
    weight.copy_(matrix_of(outputs, inputs).repeat(module.groups, 1).view_as(weight))


def initialise(model: nn.Module, name: str) -> nn.Module:
    """Set a network's weights in place by the initialisation of that name, and give it back.

    Raises:
        LehrError: there is none of that name.

    >>> initialise(nn.Linear(2, 2), "zero").weight.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return initialisations[name](model)
