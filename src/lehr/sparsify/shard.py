"""`Shard`: the piece of a named parameter that this process holds."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn

from lehr.base.draws import LEVELS, Stream
from lehr.masks.granules import Granules


@dataclass(frozen=True)
class Shard:
    """Where a local tensor lies in its whole parameter: weights `start` to `start + count`, row-major.

    An unsharded parameter is one shard. Under FSDP2 each rank holds a run of whole rows, so its shard
    is a run of indices, and it draws what the whole would there. Weights of one granule share their
    number; `granules` None means that every weight has its own.

    >>> import torch
    >>> Shard.of("w", nn.Parameter(torch.zeros(2, 3))).count
    6
    """

    name: str
    start: int
    count: int
    shape: tuple[int, ...]
    granules: Granules | None = None

    @property
    def source(self) -> str:
        """The name that draws go by: the parameter's, or that of the group whose granules it shares."""
        return self.name if self.granules is None else self.granules.group

    @classmethod
    def of(cls, name: str, parameter: Tensor, granules: Granules | None = None) -> Shard:
        """The shard of a parameter, a plain tensor or one that FSDP2 has sharded along its first dimension."""
        local, start = local_tensor(parameter), 0
        if is_sharded(parameter) and local.numel():
            from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

            sharded: Any = parameter
            _, offset = compute_local_shape_and_global_offset(sharded.shape, sharded.device_mesh, sharded.placements)
            start = int(offset[0]) * prod(sharded.shape[1:])
        single = granules is None or (granules.size == 1 and granules.group == name)
        return cls(name, start, local.numel(), tuple(local.shape), None if single else granules)

    def uniform(self, stream: Stream) -> Tensor:
        """This shard's ``U(0, 1)`` numbers of a stream, in the local shape."""
        if self.granules is not None:
            return self.cut(self.granules.spread(stream.uniform(0, self.granules.count)))
        return stream.uniform(self.start, self.count).reshape(self.shape)

    def bernoulli(self, stream: Stream, probability: float | Tensor) -> Tensor:
        """This shard's draws, bool in the local shape: of one chance for all, or of one for each weight.

        Weights of a granule must have the same chance; they are in or out together.

        >>> import torch
        >>> from lehr.base.draws import Purpose
        >>> filters = Shard("w", 0, 6, (2, 3), Granules("w", (2, 3), (0,)))
        >>> drawn = filters.bernoulli(Stream(3, "w", Purpose.MASK), torch.full((2, 3), 0.5))
        >>> bool((drawn.all(1) | ~drawn.any(1)).all())
        True
        """
        if self.granules is None:
            if isinstance(probability, Tensor):
                return stream.bernoulli(self.start, probability.reshape(-1)).reshape(self.shape)
            return stream.bernoulli(self.start, probability, self.count).reshape(self.shape)
        if not isinstance(probability, Tensor):
            return self.cut(self.granules.spread(stream.bernoulli(0, probability, self.granules.count)))
        # The same comparison as the stream's own: a number in [k, k + 1) / 65536 is below round(65536 p).
        levels = (probability * LEVELS + 0.5).floor() / LEVELS
        return self.uniform(stream).to(probability.device) < levels

    def cut(self, whole: Tensor) -> Tensor:
        """This part of a tensor that has the whole parameter's shape.

        >>> import torch
        >>> Shard("w", 2, 2, (1, 2)).cut(torch.arange(6).reshape(3, 2)).tolist()
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


def whole_like(local: Tensor, parameter: Tensor) -> Tensor:
    """The whole of which `local` is this process's piece, cut as the parameter is; all processes must ask together."""
    if not is_sharded(parameter):
        return local
    from torch.distributed.tensor import DTensor

    cut: Any = parameter
    placed: Any = DTensor.from_local(
        local, cut.device_mesh, cut.placements, run_check=False, shape=cut.shape, stride=cut.stride()
    )
    whole: Tensor = placed.full_tensor()
    return whole


def parameter_of(owner: nn.Module, attribute: str) -> nn.Parameter:
    """The parameter as the module holds it now (it may have been replaced)."""
    parameter = owner._parameters[attribute]
    assert parameter is not None, f"{attribute} of {type(owner).__name__} is gone"
    return parameter
