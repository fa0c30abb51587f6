"""Random annealing: every weight, or granule, starts with a chance of its own."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from lehr.base.draws import Purpose, Stream
from lehr.base.schedules import Schedule, check_schedule, temperature
from lehr.masks import Mask
from lehr.masks.selection import Scope
from lehr.sparsify.chance import SETTLED, Chance
from lehr.sparsify.method import Method, Realise, Target, methods
from lehr.sparsify.shard import Shard


class RandomAnnealing(Method):
    """``P = m + (1 - m) P_0 s(u)`` with ``P_0 ~ U(0, 1)`` drawn once a weight (2401.08830, as reconstructed).

    With ``all_weights=True`` kept weights are stochastic too: ``P = m + (P_0 - m) s(u)``.

    >>> import torch
    >>> m = torch.tensor([True, False, False])
    >>> method = RandomAnnealing(Mask({"w": m}), steps=4, schedule="linear")
    >>> shard = Shard("w", 0, 3, (3,))
    >>> early, late = (method.chance(t, shard).probability(m) for t in (0, 2))
    >>> bool(early[0] == 1) and torch.allclose(late[1:], early[1:] / 2)
    True
    """

    name: ClassVar[str] = "random-annealing"

    def __init__(
        self,
        mask: Mask,
        *,
        steps: int,
        schedule: str | Schedule = "cosine",
        all_weights: bool = False,
        target: Target = "fixed",
        scope: Scope = "global",
        reselect_every: int | None = None,
        realise: Realise = "sample",
        within: Mask | None = None,
        redraw_every: int = 1,
        seed: int = 0,
    ) -> None:
        check_schedule(schedule)
        super().__init__(
            mask,
            steps=steps,
            target=target,
            scope=scope,
            reselect_every=reselect_every,
            realise=realise,
            within=within,
            redraw_every=redraw_every,
            seed=seed,
        )
        self.schedule = schedule
        self.all_weights = all_weights
        self._cache: dict[str, Tensor] = {}  # P_0, a pure function of (seed, name, index): never saved

    def chance(self, t: int, shard: Shard) -> Chance:
        # The mean of P_0 is 1/2, which is where the log-density path starts.
        level = 2 * temperature(self.schedule, self.progress(t), 0.5, self.schedule_density)
        if level == 0.0:
            return SETTLED
        p0 = self._initial(shard)
        return Chance(kept=1.0 - level * (1.0 - p0) if self.all_weights else 1.0, rest=level * p0)

    def _initial(self, shard: Shard) -> Tensor:
        cached = self._cache.get(shard.name)
        if cached is None or cached.shape != shard.shape:
            cached = self._cache[shard.name] = shard.uniform(Stream(self.seed, shard.source, Purpose.INITIAL))
        return cached


methods.add(RandomAnnealing.name, RandomAnnealing)
