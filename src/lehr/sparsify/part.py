"""`Part`: the piece of a named parameter that this process holds."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn

from lehr.base.draws import Stream


@dataclass(frozen=True)
class Part:
    """Where a local tensor lies in its whole parameter: weights `start` to `start + count`, row-major.

    An unsharded parameter is one part. Under FSDP2 each rank holds a run of whole rows, so its part
    is a run of indices, and it draws what the whole would there.

    >>> import torch
    >>> Part.of("w", nn.Parameter(torch.zeros(2, 3))).count
    6
    """

    name: str
    start: int
    count: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, name: str, parameter: Tensor) -> Part:
        """The part of a parameter, a plain tensor or one that FSDP2 has sharded along its first dimension."""
        local, start = local_tensor(parameter), 0
        if is_sharded(parameter) and local.numel():
            from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

            sharded: Any = parameter
            _, offset = compute_local_shape_and_global_offset(sharded.shape, sharded.device_mesh, sharded.placements)
            start = int(offset[0]) * prod(sharded.shape[1:])
        return cls(name, start, local.numel(), tuple(local.shape))

    def uniform(self, stream: Stream) -> Tensor:
        """This part's ``U(0, 1)`` numbers of a stream, in the local shape."""
        return stream.uniform(self.start, self.count).reshape(self.shape)

    def cut(self, whole: Tensor) -> Tensor:
        """This part of a tensor that has the whole parameter's shape.

        >>> import torch
        >>> Part("w", 2, 2, (1, 2)).cut(torch.arange(6).reshape(3, 2)).tolist()
        [[2, 3]]
        """
        return whole.reshape(-1)[self.start : self.start + self.count].reshape(self.shape)


def is_sharded(parameter: Tensor) -> bool:
    """Whether this is a distributed tensor (FSDP2)."""
    return hasattr(parameter, "placements") and hasattr(parameter, "to_local")


def local_tensor(parameter: Tensor) -> Tensor:
    """The storage that this process may write, without gradient history; the parameter's own memory."""
    detached: Any = parameter.detach()
    local: Tensor = detached.to_local() if is_sharded(detached) else detached
    return local


def parameter_of(owner: nn.Module, attribute: str) -> nn.Parameter:
    """The parameter as the module holds it now (it may have been replaced)."""
    parameter = owner._parameters[attribute]
    assert parameter is not None, f"{attribute} of {type(owner).__name__} is gone"
    return parameter
