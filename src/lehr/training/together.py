"""Several processes of one run, as `accelerate launch` starts them: one writes, all agree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from accelerate import PartialState

from lehr.runs import RunFolder, Settings


def rank() -> int:
    """The number of this process; 0 where there is one."""
    return int(os.environ.get("RANK", "0")) if world() > 1 else 0


def world() -> int:
    """How many processes share the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def state() -> PartialState:
    """Accelerate's, which is made once; on gloo where there is no GPU, or no process would know of another."""
    return PartialState(cpu=not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true")


def meet() -> None:
    """Wait until every process is here."""
    if world() > 1:
        state().wait_for_everyone()


@contextmanager
def opened(folder: RunFolder, settings: Settings, *, resume: bool) -> Iterator[None]:
    """The folder locked and begun by the first process, while the others wait for it."""
    if rank() == 0:
        with folder.locked():
            folder.begin(settings, resume=resume)
            meet()
            yield
        return
    meet()
    yield


def any_of(flag: bool) -> bool:
    """Whether any process says so; all must ask together.

    >>> any_of(True)
    True
    """
    if world() == 1:
        return flag
    value = torch.tensor(float(flag), device=state().device)  # NCCL takes tensors of the GPU only
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return bool(value)


def total_of(values: dict[str, float]) -> dict[str, float]:
    """Sums over all processes; all must ask together.

    >>> total_of({"seen": 2.0})
    {'seen': 2.0}
    """
    if world() == 1:
        return dict(values)
    summed = torch.tensor(list(values.values()), dtype=torch.float64, device=state().device)
    dist.all_reduce(summed)
    return dict(zip(values, summed.tolist(), strict=True))
