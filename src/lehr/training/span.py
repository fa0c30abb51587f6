"""Which steps of its schedule a run goes through."""

from __future__ import annotations

from lehr.base.errors import require
from lehr.base.steps import parse_length
from lehr.data import Batches, Dataset
from lehr.runs import Settings


def steps_per_epoch(settings: Settings, data: Dataset) -> int:
    """Optimizer steps in an epoch: full batches over accumulated ones (a rest makes a step of its own)."""
    batches = len(Batches(data, settings.batch_size, settings.order_seed))
    return -(-batches // settings.accumulate)


def span(settings: Settings, data: Dataset) -> tuple[int, int]:
    """The steps of the schedule at which the run begins and leaves off.

    Raises:
        LehrError: they are not in the schedule, or in the wrong order.
    """
    return part_of(settings, steps_per_epoch(settings, data))


def part_of(settings: Settings, per_epoch: int) -> tuple[int, int]:
    """The same where the optimizer steps in an epoch are known."""
    total = settings.epochs * per_epoch
    first, last = (
        parse_length(text, steps_per_epoch=per_epoch, total=total) for text in (settings.start, settings.stop)
    )
    require(
        first <= last <= total,
        f"the run is to go from {settings.start} to {settings.stop}, steps {first} to {last}, and the schedule has {total}: "
        "give steps of the schedule in order",
    )
    return first, last


def total_steps(settings: Settings, data: Dataset) -> int:
    """Optimizer steps in the run."""
    first, last = span(settings, data)
    return last - first
