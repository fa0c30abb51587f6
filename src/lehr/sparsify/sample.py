"""`Sample`: who takes part in one training pass, as a draw that is still to be made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lehr.base.draws import LEVELS, Stream
from lehr.runtime.native import available, native
from lehr.sparsify.chance import Chance
from lehr.sparsify.shard import Shard


@dataclass(frozen=True)
class Sample:
    """Numbers of a stream against the chance of every weight.

    With `mirrored` the target's complement is drawn, and what that leaves out is in. `chosen` is the reference; `draw` does the same to the bit in one pass over the weights where lehr's compiled part can.
    """

    stream: Stream
    chance: Chance
    mirrored: bool = False

    def chosen(self, shard: Shard, target: Tensor) -> Tensor:
        """Bool, in the shard's shape."""
        if self.mirrored:
            return ~Sample(self.stream, self.chance).chosen(shard, ~target)
        single = self.chance.single
        if single is not None:
            return shard.bernoulli(self.stream, single).to(target.device).logical_or_(target)
        return shard.bernoulli(self.stream, self.chance.probability(target))

    def draw(
        self, shard: Shard, target: Tensor, values: Tensor, shadow: Tensor, factor: Tensor, done: NDArray[np.uint8]
    ) -> bool:
        """Put the values into `shadow`, the draw as 0.0 and 1.0 into `factor`, and multiply the values by it.

        Args:
            shard: which weights of the parameter these are.
            target: bool, which weights are of the target.
            values, shadow, factor: of the same shape.
            done: one byte that becomes 1 when all is done, before anything can interrupt.

        Returns:
            whether it was done; else nothing was touched.
        """
        arrays = (target, values, shadow, factor)
        plain = all(t.device.type == "cpu" and t.is_contiguous() for t in arrays)
        if self.mirrored or shard.granules is not None or not plain or values.dtype != torch.float32 or not available():
            return False
        single = self.chance.single
        inside = None if single is None else target.view(torch.uint8).reshape(-1).numpy()
        probability = self.chance.probability(target).reshape(-1).numpy() if single is None else None
        key, counter = self.stream.address
        native().draw(
            key, counter, shard.start, int((single or 0.0) * LEVELS + 0.5), inside, probability,
            *(t.reshape(-1).numpy() for t in arrays[1:]), done, torch.get_num_threads(),
        )  # fmt: skip
        # Autograd is to notice what it did not see.
        torch.autograd.graph.increment_version([values])
        return True
