"""What moves while a network trains, and what a checkpoint holds of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lehr.runs import Checkpoint
from lehr.runs.weights import load_weights
from lehr.sparsify import Attachment
from lehr.sparsify.learned import LearnedMask
from lehr.training.averaging import Average

SUMS = ("loss", "correct", "seen", "density", "looks")


def no_sums() -> dict[str, float]:
    """Running sums at the beginning of an epoch."""
    return dict.fromkeys(SUMS, 0.0)


@dataclass
class Position:
    """Where a run is: finished epochs, batches done in the present one, optimizer steps, metric lines."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    lines: int = 0


@dataclass
class Parts:
    """Network, optimizer, what is attached to them, and where they are in the schedule."""

    model: nn.Module
    optimizer: Any  # as Accelerate wraps it
    position: Position
    attachment: Attachment | None = None
    average: Average | None = None
    learned: LearnedMask | None = None
    totals: dict[str, float] = field(default_factory=no_sums)

    def checkpoint(self, settings: str, seconds: float) -> Checkpoint:
        """All that a resumed run needs.

        Args:
            settings: their digest.
            seconds: spent so far.
        """
        return Checkpoint(
            settings=settings,
            position=vars(self.position),
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict()["state"],
            random=torch.get_rng_state(),
            attachment=None if self.attachment is None else self.attachment.state_dict(),
            totals=self.totals,
            average={} if self.average is None else self.average.state(),
            learned={} if self.learned is None else self.learned.state(),
            seconds=seconds,
        )

    def restore(self, checkpoint: Checkpoint, where: str, *, sums: bool) -> None:
        """Go back to a checkpoint, random numbers too.

        Args:
            checkpoint: of a run with the same parts.
            where: it came from, for messages.
            sums: whether this process takes the running sums; of several processes one does.

        Raises:
            LehrError: its weights are not those of this network.
        """
        self.position = Position(**checkpoint.position)
        self.totals = dict(checkpoint.totals) if sums else no_sums()
        load_weights(self.model, checkpoint.model, where)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": dict(checkpoint.optimizer), "param_groups": groups})
        torch.set_rng_state(checkpoint.random)
        if self.average is not None:
            self.average.load(dict(checkpoint.average))
        if self.learned is not None:
            self.learned.load(checkpoint.learned)
        if self.attachment is not None:
            assert checkpoint.attachment is not None, "a checkpoint with these settings has an attachment"
            self.attachment.load_state_dict(checkpoint.attachment)
