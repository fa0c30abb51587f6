"""Temperature annealing: dropout in reverse."""

from __future__ import annotations

from typing import ClassVar

from lehr.base.errors import LehrError, check_fraction, require
from lehr.base.schedules import Schedule, check_schedule, temperature
from lehr.masks import Mask
from lehr.masks.selection import Scope
from lehr.sparsify.chance import SETTLED, Chance
from lehr.sparsify.method import Method, Realise, Target, methods
from lehr.sparsify.shard import Shard


class TemperatureAnnealing(Method):
    """``P = m + (1 - m) tau s(u)``: weights outside the target take part with a falling chance (2401.08830).

    With ``all_weights=True`` kept weights are stochastic too, in with chance ``1 - tau s(u)``; tau is
    then at most 0.5.

    Args:
        mask: the target subnetwork.
        tau: temperature at the start, in [0, 1].
        steps: length of the annealing phase, in optimizer steps.
        schedule: ``linear``, ``cosine``, ``exponential``, ``cubic``, ``log-density`` or a function
            of u that falls from 1 to exactly 0.
        all_weights: whether kept weights are stochastic too.
        by_layer: whether a layer's temperature goes by its density: ``min(1, tau s(u) d_l / d)`` with ``d_l`` the density of
            the layer's target and d that of the whole, so that every layer becomes sparser by about the same factor.
        target, scope, reselect_every, realise, within, redraw_every, seed: as in `Method`.

    >>> import torch
    >>> method = TemperatureAnnealing(Mask({"w": torch.tensor([True, False])}), tau=0.5, steps=4, schedule="linear")
    >>> [method.chance(t, Shard("w", 0, 2, (2,))).rest for t in range(5)]
    [0.5, 0.375, 0.25, 0.125, 0.0]
    """

    name: ClassVar[str] = "temperature-annealing"

    def __init__(
        self,
        mask: Mask,
        *,
        steps: int,
        tau: float = 0.5,
        schedule: str | Schedule = "cosine",
        all_weights: bool = False,
        by_layer: bool = False,
        target: Target = "fixed",
        scope: Scope = "global",
        reselect_every: int | None = None,
        realise: Realise = "sample",
        within: Mask | None = None,
        redraw_every: int = 1,
        seed: int = 0,
    ) -> None:
        check_fraction("tau", tau, below_one=False)
        require(not (all_weights and by_layer), "all_weights and by_layer are both set: choose one of them")
        if all_weights and tau > 0.5:
            raise LehrError(
                f"tau is {tau:g} with all weights stochastic: give at most 0.5, above it kept weights are rarer than others"
            )
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
        self.tau = float(tau)
        self.schedule = schedule
        self.all_weights = all_weights
        self.by_layer = by_layer
        self._counted: Mask | None = None
        self._densities: dict[str, float] = {}

    def chance(self, t: int, shard: Shard) -> Chance:
        level = temperature(self.schedule, self.progress(t), self.tau, self.schedule_density)
        if level == 0.0:
            return SETTLED
        if self.by_layer:
            level = min(1.0, level * self._relative_density(shard.name))
        return Chance(kept=1.0 - level if self.all_weights else 1.0, rest=level)

    def _relative_density(self, name: str) -> float:
        """The density of a layer's target over that of the whole; counted once for each target."""
        if self._counted is not self.target:
            self._counted = self.target
            self._densities = {row.name: row.density / self.target.density for row in self.target.layers()}
        return self._densities[name]


methods.add(TemperatureAnnealing.name, TemperatureAnnealing)
