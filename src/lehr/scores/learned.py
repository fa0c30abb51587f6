"""The learned mask of a run."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from lehr.base.errors import LehrError
from lehr.scores.registry import scores


@scores.register("learned-mask")
def learned_mask(model: nn.Module, parameters: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """m, as `lehr.learn_mask` has trained it with the weights, which hold ``w m`` since; magnitude therefore ranks by ``|w m|``.

    It is no function of the network: a recipe reads it from the run that it starts from; in Python give the scores themselves,
    ``lehr.select(model, 0.9, score=learned.values)``.

    Raises:
        LehrError: always, and says so.

    >>> import lehr, torch
    >>> net = nn.Linear(4, 2)
    >>> with lehr.learn_mask(net, torch.optim.SGD(net.parameters(), lr=0.1)) as learned:
    ...     pass  # training
    >>> lehr.select(net, 0.5, score=learned.values).kept
    4
    """
    raise LehrError(
        "learned-mask is known of a run with a learned mask (lehr train --learn-mask): give score=learned.values"
    )
