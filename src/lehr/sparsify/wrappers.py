"""Finding the user's own network and optimizer under what others have wrapped around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from lehr.base.errors import LehrError
from lehr.masks import Mask
from lehr.sparsify.shard import local_tensor


def called_module(model: nn.Module) -> nn.Module:
    """The module whose calls are training passes: inside DDP, at the compiled wrapper otherwise."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return called_module(model.module)
    return model


def plain_module(model: nn.Module) -> nn.Module:
    """The network whose parameter names the mask uses, under DDP and ``torch.compile``."""
    while True:
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def plain_optimizer(optimizer: Optimizer) -> Optimizer:
    """The optimizer whose step hooks fire, under Accelerate's wrapper.

    >>> import torch
    >>> sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> plain_optimizer(sgd) is sgd
    True
    """
    while isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer  # type: ignore[attr-defined]
    if not isinstance(optimizer, Optimizer):
        raise LehrError(f"the optimizer is a {type(optimizer).__name__}: give a torch.optim.Optimizer")
    if isinstance(optimizer, LBFGS):
        raise LehrError("LBFGS evaluates the network many times a step on weights it moves in between: use SGD or Adam")
    return optimizer


def state_tensors(optimizer: Optimizer, parameter: Tensor) -> Iterator[Tensor]:
    """The optimizer's state of each weight, as this process holds it: momentum, moments, master weights.

    These are the floating tensors of the parameter's shape.
    """
    for value in optimizer.state.get(parameter, {}).values():
        if isinstance(value, Tensor) and value.is_floating_point() and value.shape == parameter.shape:
            yield local_tensor(value)


def holds(optimizer: Optimizer, parameter: Tensor) -> bool:
    """Whether the optimizer moves this very parameter."""
    return any(parameter is held for group in optimizer.param_groups for held in group["params"])


def check_held(optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> None:
    """Raise unless the optimizer moves every parameter that is not frozen, and one at least is not.

    >>> import torch
    >>> layer = nn.Linear(1, 1)
    >>> check_held(torch.optim.SGD(layer.parameters(), lr=1.0), {"weight": layer.weight})
    """
    trained = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
    if not trained:
        raise LehrError("every masked weight is frozen (requires_grad is False): there is nothing to tune")
    for name, parameter in trained.items():
        if not holds(optimizer, parameter):
            raise LehrError(
                f"the optimizer does not hold {name}, which the mask covers: give it all parameters of the attached "
                "network, or leave the layer out of the mask"
            )


def check_agreement(mask: Mask) -> None:
    """Raise unless every process of a distributed run has the same mask; all must ask together.

    >>> import torch
    >>> check_agreement(Mask({"w": torch.tensor([True])}))
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return
    digests: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(digests, mask.digest)
    if len(set(digests)) > 1:
        raise LehrError(
            "the processes have different masks: select from the same weights with the same seed, for example after "
            "the network is wrapped"
        )
