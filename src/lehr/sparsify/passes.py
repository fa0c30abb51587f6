"""`Passes`: the life of the masked parameters between two optimizer steps.

A training pass begins with a forward and lasts up to the end of its backward. The parameters are at
rest, or hold the draw of a pass; every change between the two goes through here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Literal

import torch
import torch.distributed as dist

from lehr.base.draws import Purpose, Stream
from lehr.sparsify.chance import SETTLED, Chance
from lehr.sparsify.method import Method
from lehr.sparsify.sample import Sample
from lehr.sparsify.slot import Slot

Inactive = Literal["hold", "move"]


class State(Enum):
    """What the masked parameters hold just now."""

    REST = "dense values, or the final sparse ones"
    DRAWN = "the draw of a training pass"
    JUDGED = "the target network, for a pass in evaluation mode that keeps gradients"


class Passes:
    """Draws, restores and swaps the values of all slots together.

    `turn` counts the passes begun since the last optimizer step, `used` says whether a backward has
    gone through the present one. Every method runs without gradients.
    """

    def __init__(self, slots: Sequence[Slot], inactive: Inactive, rank: int | None) -> None:
        self.slots = slots
        self.inactive: Inactive = inactive
        self.rank = rank
        self.state = State.REST
        self.turn = 0
        self.used = False
        self._aside: list[tuple[Slot, torch.Tensor]] = []  # what was in place before the target network was

    def begin(self, wanted: State, method: Method, step: int) -> None:
        """Draw for a pass, unless an earlier forward of the same pass has."""
        self.unswap()
        if self.state is wanted and not self.used:
            return
        self.rest()
        self.used = False
        if not method.finished(step):
            # First, so that an interruption in the middle of the loop is undone like a whole draw.
            self.state = wanted
            collecting = method.wants_gradients(step)
            for slot in self.slots:
                slot.collecting = collecting
                chance = SETTLED if wanted is State.JUDGED else method.chance(step, slot.shard)
                if chance.settled:
                    slot.draw(None, first=self.turn == 0)
                elif method.realise == "mean":
                    slot.draw(chance.probability(slot.target), first=self.turn == 0)
                else:
                    slot.draw(self._sample(slot, chance, method, step), first=self.turn == 0)
            torch.clear_autocast_cache()  # or a second forward in an autocast region uses the first one's weights
        self.turn += 1

    def _sample(self, slot: Slot, chance: Chance, method: Method, step: int) -> Sample:
        turn = self.turn
        if method.redraw_every > 1:  # the same numbers for several steps; what they are compared with may fall
            step, turn = step - step % method.redraw_every, 0
        return Sample(
            Stream(method.seed, slot.shard.source, Purpose.MASK, step, turn, self.rank or 0), chance, method.mirrored
        )

    def rest(self) -> None:
        """Bring the values at rest back; what the user changed on weights that take part stays."""
        if self.state is not State.REST:
            for slot in self.slots:
                slot.undraw()
                slot.forget()
            self.state = State.REST
            torch.clear_autocast_cache()

    @contextmanager
    def swapped(self, *, seen: bool) -> Iterator[None]:
        """Hold the target network meanwhile; `seen` lets autograd notice, see `Slot.swap`."""
        self.unswap()
        try:
            with torch.no_grad():
                for slot in self.slots:
                    values = slot.judged_values()
                    self._aside.append((slot, slot.copy_of_values()))
                    slot.swap(values, seen=seen)
            torch.clear_autocast_cache()
            yield
        finally:
            self.unswap(seen=seen)

    def unswap(self, *, seen: bool = True) -> None:
        """Bring back what was in place before the target network was; what an interruption has left of it, another time."""
        if self._aside:
            with torch.no_grad():
                while self._aside:
                    slot, values = self._aside[-1]
                    slot.swap(values, seen=seen)
                    self._aside.pop()
            torch.clear_autocast_cache()

    def before_step(self) -> None:
        """Let the optimizer find the values that it is to move."""
        if self.state is State.REST:
            return
        for slot in self.slots:
            if slot.active is None:
                slot.active = slot.takes_part
            if self.rank is not None and dist.is_available() and dist.is_initialized():
                # Ranks drew different masks: a weight moves everywhere if it took part anywhere.
                slot.active = slot.active.clone()
                dist.all_reduce(slot.active, dist.ReduceOp.MAX)
            if slot.faded or self.inactive == "move":
                slot.undraw()
            elif slot.active is not slot.factor:
                # Several passes: all weights that took part in any of them are to be moved.
                slot.undraw()
                slot.local.mul_(slot.active)

    def after_step(self) -> None:
        """Bring back the weights that were not to be moved; the parameters are at rest."""
        for slot in self.slots:
            if self.state is not State.REST and self.inactive == "hold":
                slot.undraw(slot.active)
            slot.forget()
            slot.active = None
            slot.collecting = False
        self.state = State.REST
        self.turn = 0
        self.used = False
        torch.clear_autocast_cache()
