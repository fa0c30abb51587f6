"""Which parameters of a network a mask covers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from lehr.base.errors import LehrError, unknown

Modules = str | Sequence[str] | None


def target_parameters(
    model: nn.Module, target_modules: Modules = None, exclude_modules: Modules = None
) -> dict[str, nn.Parameter]:
    """The weights to prune, by name: every Linear and Conv weight, the head included, unless told otherwise.

    `target_modules` and `exclude_modules` are matched as in PEFT: a list holds full module names or
    their last parts, a string is a regular expression for the full name. A matched module offers
    its ``weight`` (an attention module its ``in_proj_weight``), of two dimensions or more. A shared
    parameter is listed once, under the first name it has.

    Raises `LehrError` where a pattern matches nothing or nothing is left.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    >>> list(target_parameters(net)), list(target_parameters(net, exclude_modules=["2"]))
    (['0.weight', '2.weight'], ['0.weight'])
    """
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    if target_modules is None:
        seen |= {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    names = dict(model.named_modules())
    for pattern in (target_modules, exclude_modules):
        _check_matches(pattern, names)
    for prefix, module in names.items():
        if target_modules is None and not isinstance(module, (nn.Linear, _ConvNd, nn.MultiheadAttention)):
            continue
        if target_modules is not None and not _matches(target_modules, prefix):
            continue
        if exclude_modules is not None and _matches(exclude_modules, prefix):
            continue
        for attribute in ("weight", "in_proj_weight"):
            parameter = module._parameters.get(attribute)
            if parameter is None or id(parameter) in seen:
                continue
            name = f"{prefix}.{attribute}" if prefix else attribute
            if is_lazy(parameter):
                raise LehrError(f"{name} has no shape yet: run one batch through the network before selecting")
            if parameter.ndim >= 2:
                seen.add(id(parameter))
                found[name] = parameter
    if not found:
        raise LehrError(
            f"{type(model).__name__} has no weight to prune: no Linear or Conv layer is left, "
            "name some with target_modules"
        )
    return found


def named_parameter(model: nn.Module, name: str) -> nn.Parameter:
    """The parameter of that name, or a `LehrError` with the nearest names.

    >>> tuple(named_parameter(nn.Linear(2, 1), "weight").shape)
    (1, 2)
    """
    prefix, _, attribute = name.rpartition(".")
    try:
        parameter = model.get_submodule(prefix)._parameters.get(attribute)
    except AttributeError:
        parameter = None
    if parameter is None:
        raise unknown("parameter", name, (n for n, _ in model.named_parameters(remove_duplicate=False)))
    return parameter


def whole(parameter: Tensor) -> Tensor:
    """The values of a parameter, detached and unsharded (every rank must ask together under FSDP).

    >>> whole(nn.Linear(2, 1).weight).requires_grad
    False
    """
    detached = parameter.detach()
    if hasattr(detached, "full_tensor"):
        gathered: Tensor = detached.full_tensor()
        return gathered
    return detached


def placed_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A whole tensor on the parameter's device, and sharded as it is (every rank must ask together under FSDP).

    >>> placed_like(nn.Linear(2, 1).weight, torch.ones(1, 2)).shape
    torch.Size([1, 2])
    """
    tensor = tensor.to(parameter.device)
    if hasattr(parameter, "placements") and hasattr(parameter, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(tensor, parameter.device_mesh, parameter.placements)
    return tensor


def whole_parameters(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """`whole` of each named parameter.

    >>> list(whole_parameters(nn.Linear(2, 1), ["weight"]))
    ['weight']
    """
    with torch.no_grad():
        return {name: whole(named_parameter(model, name)) for name in names}


def _matches(patterns: Modules, name: str) -> bool:
    if isinstance(patterns, str):
        return re.fullmatch(patterns, name) is not None
    return any(name == pattern or name.endswith(f".{pattern}") for pattern in patterns or ())


def _check_matches(patterns: Modules, names: Iterable[str]) -> None:
    if isinstance(patterns, str):
        try:
            re.compile(patterns)
        except re.error as error:
            raise LehrError(f"the module pattern {patterns!r} is not a regular expression: {error}") from None
    for pattern in [patterns] if isinstance(patterns, str) else patterns or ():
        if not any(_matches(pattern if isinstance(patterns, str) else [pattern], name) for name in names):
            raise unknown("module", pattern, (name for name in names if name))
