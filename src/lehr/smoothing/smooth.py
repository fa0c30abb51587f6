"""`Smoothing`: how smooth the loss is at each step, and a block in which a network runs like that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lehr.base.errors import LehrError, check_fraction, require, unknown
from lehr.base.modes import in_mode
from lehr.smoothing.activations import IN_PLACE, RELUS, soft_relu
from lehr.smoothing.skips import skip

PARTS = ("labels", "activations", "skips")
SHARPEST = 50.0  # beta at the end, from which it is the ReLU itself
CONVOLUTIONS = frozenset({torch.conv2d, nn.functional.conv2d})


class Smoothing:
    """Soft labels, activations and skips that are gone after some steps (after 2312.01653 and 2206.12755; schedules are ours).

    With ``u = t / steps``: labels are smoothed by ``labels (1 - u)``; a ReLU is ``x sigmoid(beta x)`` with
    ``beta = softness (50 / softness)^u``; around every convolution goes ``skip (1 - u)`` times its input. From `steps` on labels and
    network are the original. Only passes in `at` see any of it: nothing is put into the network, so nothing is left in it.

    Args:
        steps: for how many optimizer steps.
        parts: any of ``labels``, ``activations``, ``skips``.
        labels: smoothing of labels at the start, in [0, 1).
        softness: beta at the start, in (0, 50].
        skip: the share of the input at the start, from 0.

    Raises:
        LehrError: a part does not exist or a number is out of range.

    >>> smoothing = Smoothing(steps=10, labels=0.1)
    >>> [round(smoothing.label_smoothing(t), 3) for t in (0, 5, 10)]
    [0.1, 0.05, 0.0]
    >>> layer, x = nn.ReLU(), torch.tensor([-1.0])
    >>> with smoothing.at(0):
    ...     soft = layer(x)
    >>> round(float(soft), 3), float(layer(x))
    (-0.269, 0.0)
    """

    def __init__(
        self,
        steps: int,
        parts: Sequence[str] = PARTS,
        *,
        labels: float = 0.1,
        softness: float = 1.0,
        skip: float = 0.1,
    ) -> None:
        require(type(steps) is int and steps >= 0, f"steps of smoothing is {steps!r}: give a whole number from 0")
        for part in parts:
            if part not in PARTS:
                raise unknown("part of smoothing", part, PARTS)
        require(len(set(parts)) == len(parts), f"the parts of smoothing are {', '.join(parts)}: name each once")
        check_fraction("labels", labels)
        require(0 < softness <= SHARPEST, f"softness is {softness}: give a number in (0, {SHARPEST:g}], 1 is SiLU")
        require(0 <= skip < float("inf"), f"skip is {skip}: give a number from 0, such as 0.1")
        self.steps, self.parts = steps, tuple(parts)
        self.labels, self.softness, self.skip = float(labels), float(softness), float(skip)

    def _left(self, t: int) -> float:
        return 1.0 - t / self.steps if t < self.steps else 0.0

    def label_smoothing(self, t: int) -> float:
        """For `torch.nn.functional.cross_entropy` at step t."""
        return self.labels * self._left(t) if "labels" in self.parts else 0.0

    def sharpness(self, t: int) -> float | None:
        """beta at step t; None is the ReLU."""
        if "activations" not in self.parts or t >= self.steps:
            return None
        return float(self.softness * (SHARPEST / self.softness) ** (t / self.steps))

    def share(self, t: int) -> float:
        """What goes around convolutions at step t."""
        return self.skip * self._left(t) if "skips" in self.parts else 0.0

    @contextmanager
    def at(self, t: int) -> Iterator[None]:
        """Networks that run in the block are as smooth as step t asks; at `steps` and after it they are themselves."""
        beta, share = self.sharpness(t), self.share(t)
        if beta is None and not share:
            yield
            return
        with _Soft(beta, share):
            yield

    def check(self, model: nn.Module, inputs: Tensor) -> None:
        """Raise unless the network has what the parts smooth.

        Args:
            model: run once in evaluation mode.
            inputs: a batch that it takes.

        Raises:
            LehrError: there is no ReLU, or no convolution.
        """
        seen = _Soft(None, 0.0)
        with in_mode(model), torch.no_grad(), seen:
            model(inputs)
        if "activations" in self.parts and not seen.relus:
            raise LehrError("the network has no ReLU to soften: leave activations out of what is smoothed")
        if "skips" in self.parts and not seen.convolutions:
            raise LehrError("the network has no convolution to go around: leave skips out of what is smoothed")


class _Soft(TorchFunctionMode):
    """Runs functions of torch in another way."""

    def __init__(self, beta: float | None, share: float) -> None:
        super().__init__()
        self.beta, self.share = beta, share
        self.relus = self.convolutions = 0

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in RELUS:
            self.relus += 1
            if self.beta is not None:
                x = args[0] if args else kwargs["input"]
                soft = soft_relu(x, self.beta)
                inside = function in IN_PLACE or (
                    function is F.relu and (kwargs.get("inplace") or args[1:2] == (True,))
                )
                return x.copy_(soft) if inside else soft
        result = function(*args, **kwargs)
        if function in CONVOLUTIONS:
            self.convolutions += 1
            if self.share:
                result = result + self.share * skip(args[0] if args else kwargs["input"], result)
        return result
