"""`Chance`: the probability of every weight of one parameter, relative to the target mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chance:
    """``P = m * kept + (1 - m) * rest``: what a weight inside and one outside the target may do.

    Each is one float for all, or a tensor of the parameter's shape.

    >>> m = torch.tensor([True, False])
    >>> Chance(kept=1.0, rest=0.25).probability(m).tolist()
    [1.0, 0.25]
    """

    kept: float | Tensor = 1.0
    rest: float | Tensor = 0.0

    @property
    def settled(self) -> bool:
        """Whether P is the mask itself, so that nothing needs to be drawn."""
        return isinstance(self.kept, float) and isinstance(self.rest, float) and (self.kept, self.rest) == (1.0, 0.0)

    @property
    def single(self) -> float | None:
        """The one chance of all weights outside the target, where those inside always take part."""
        inside = isinstance(self.kept, float) and self.kept == 1.0
        return self.rest if inside and isinstance(self.rest, float) else None

    def probability(self, mask: Tensor) -> Tensor:
        """P as a float32 tensor of the mask's shape."""
        kept = torch.as_tensor(self.kept, dtype=torch.float32, device=mask.device)
        rest = torch.as_tensor(self.rest, dtype=torch.float32, device=mask.device)
        return torch.where(mask, kept, rest)


SETTLED = Chance()
