"""Sparse evolutionary training: drop the smallest weights, grow others at random."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, floor, pi
from typing import ClassVar

import torch
from torch import Tensor

from lehr.base.draws import Purpose, Stream
from lehr.base.errors import check_fraction, require
from lehr.masks import Mask
from lehr.masks.choice import keep_best
from lehr.sparsify.chance import SETTLED, Chance
from lehr.sparsify.method import NOTHING, RESELECTIONS, Method, magnitude, methods
from lehr.sparsify.shard import Shard

EVERY = 100  # optimizer steps between two changes, unless told otherwise or the phase is short


class SparseEvolution(Method):
    """Every few steps the smallest weights of each layer go and as many others come, at random (Mocanu et al. 2018, 1707.04780).

    Sparse from the first step on: weights outside the target are 0, and what comes begins at 0 with fresh optimizer state. A change
    after step t takes out ``k = floor(drop (1 + cos(pi t / steps)) / 2 * kept)`` weights of a layer, the smallest ``|w|``, and takes in k of
    those that are then out, the ones just dropped among them. Every layer keeps its number of weights; after `steps` the target
    stays. The cosine is that of RigL (1911.11134), which compares both with it; the first paper drops a constant share.

    Args:
        mask: the first target, with the density of every layer; unstructured.
        steps: how long targets change, in optimizer steps: three quarters of the run are usual.
        drop: share of a layer's weights that goes in the first change, in (0, 1).
        reselect_every: steps between changes; None for 100, or a twentieth of `steps` where that is less.
        within, seed: as in `Method`.

    Raises:
        LehrError: the mask is not unstructured, or an argument out of range.

    >>> method = SparseEvolution(Mask({"w": torch.tensor([True, True, False, False])}), steps=10, drop=0.5, reselect_every=1)
    >>> method.retarget(1, {"w": torch.tensor([3.0, -1.0, 0.0, 0.0])})
    >>> method.target["w"][0].item(), method.target.kept
    (True, 2)
    """

    name: ClassVar[str] = "set"
    clears: ClassVar[bool] = True

    def __init__(
        self,
        mask: Mask,
        *,
        steps: int,
        drop: float = 0.3,
        reselect_every: int | None = None,
        within: Mask | None = None,
        seed: int = 0,
    ) -> None:
        check_fraction("drop", drop)
        require(drop > 0, "drop is 0, and nothing would ever change: use one-shot")
        coarse = sorted(set(mask.granularities.values()) - {"unstructured"})
        require(not coarse, f"{self.name} moves single weights and the mask is of {', '.join(coarse)}: use ac-dc")
        every = reselect_every if reselect_every is not None else min(EVERY, max(1, steps // RESELECTIONS))
        super().__init__(
            mask, steps=steps, target="moving", scope="layer", reselect_every=every, within=within, seed=seed
        )
        self.drop = float(drop)

    def due(self, t: int) -> bool:
        return 0 < t < self.steps and t % self.reselect_every == 0

    def chance(self, t: int, shard: Shard) -> Chance:
        return SETTLED

    def growth(self, name: str, t: int, gradients: Mapping[str, Tensor]) -> Tensor:
        """How much each weight is wanted, in the shape of its layer."""
        shape = self.target[name].shape
        bits = Stream(self.seed, name, Purpose.GROW, step=t).uniform(0, shape.numel())
        return bits.reshape(shape)

    def retarget(self, t: int, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor] = NOTHING) -> None:
        share = self.drop * (1 + cos(pi * self.progress(t))) / 2
        chosen: dict[str, Tensor] = {}
        for name, inside in self.target.items():
            allowed = torch.ones_like(inside) if self.within is None else self.within[name].to(inside.device)
            kept, room = int(inside.sum()), int(allowed.sum())
            change = min(floor(share * kept), room - kept)
            stay = self._best(name, magnitude(name, weights[name]).to(inside.device), inside, kept - change)
            wanted = self.growth(name, t, gradients).to(inside.device)
            require(
                not wanted.isnan().any(),
                f"the gradient of {name} is NaN: what is to grow is undefined, lower the learning rate",
            )
            come = self._best(name, wanted, allowed & ~stay, change)
            chosen[name] = stay | come
        self.target = Mask(chosen, self.target.granularities)

    def _best(self, name: str, score: Tensor, among: Tensor, count: int) -> Tensor:
        found = keep_best({name: score.reshape(-1)}, {name: among.reshape(-1)}, count, self.seed)
        return found[name].reshape(among.shape)


methods.add(SparseEvolution.name, SparseEvolution)
