"""`connect`: what lies between two runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field
from torch import Tensor

from lehr.analysis.connectivity import Barrier, barriers
from lehr.base.errors import require
from lehr.data import Batches, Examples, Split
from lehr.data.batches import evaluation_batches
from lehr.recipes.fresh import fresh_model
from lehr.recipes.network import JudgeSettings, Network, open_network
from lehr.recipes.parent import parent_weights
from lehr.recipes.questions import alike
from lehr.runs.weights import load_weights
from lehr.training import together
from lehr.training.averaging import BN_BATCHES, has_batch_norm

SplitName = Literal["train", "validation", "test"]
T = TypeVar("T")


@dataclass(frozen=True)
class _Again(Generic[T]):
    """Batches that are prepared anew each time, so that memory holds one of them."""

    make: Callable[[], Iterator[T]]

    def __iter__(self) -> Iterator[T]:
        return self.make()


class ConnectSettings(JudgeSettings):
    """Which two networks, and how closely the line between them is looked at."""

    other: str
    points: int = Field(default=30, ge=2)
    bn_batches: int = Field(
        default=BN_BATCHES, ge=0
    )  # for batch-norm at every place; 0 mixes the statistics of the two
    examples: int = Field(default=10_000, ge=1)  # of the training set that are judged
    parts: tuple[SplitName, ...] = Field(default=("train", "test"), min_length=1)  # of the data


def connect(settings: ConnectSettings) -> dict[str, Any]:
    """The error barrier between two networks on parts of their data (1912.05671).

    Returns:
        by part: ``alphas``, ``errors``, ``losses``, ``barrier``, ``loss_barrier`` and ``connected``; ``notes``, in words.

    Raises:
        LehrError: there is no such run, or the two are of different networks or data.
    """
    first, second = _opened(settings)
    data = first.data
    same = second.data.name == data.name and second.data.input_shape == data.input_shape
    require(
        same, f"{settings.run} is of {data.name} and {settings.other} of {second.data.name}: give two of the same data"
    )
    require(
        alike(data, second.data),
        f"{settings.run} and {settings.other} see {data.name} scaled in two ways: give two with one limit",
    )
    statistics: _Again[Tensor] | None = None
    if settings.bn_batches and has_batch_norm(first.model):
        batches = Batches(data, min(first.settings.batch_size, len(data.train)), 0)
        statistics = _Again(lambda: (inputs for inputs, _ in islice(batches.epoch(0), settings.bn_batches)))
    judged: dict[str, Examples] = {"train": data.train.first(settings.examples)}
    judged |= {"validation": data.validation, "test": data.test}
    loaders: dict[str, _Again[tuple[Tensor, Tensor]]] = {
        part: _Again(partial(evaluation_batches, judged[part], data)) for part in settings.parts
    }
    place = together.state().device
    found = barriers(
        first.model.to(place), second.model.to(place), loaders, points=settings.points, statistics=statistics
    )
    notes = [note for part, one in found.items() if (note := _guessing(part, one, judged[part]))]
    return {"run": settings.run, "other": settings.other, "notes": notes} | {
        part: told(one) for part, one in found.items()
    }


def _opened(settings: ConnectSettings) -> tuple[Network, Network]:
    """Both; a file of weights beside a run is a network of that run's kind, unless told otherwise."""
    paths = (settings.run, settings.other)
    files = [Path(path).is_file() for path in paths]
    if files[0] == files[1] or settings.data is not None or settings.model is not None:
        first, second = (open_network(settings.model_copy(update={"run": path})) for path in paths)
        return first, second
    run, file = (paths[1], paths[0]) if files[0] else paths
    known = open_network(settings.model_copy(update={"run": run}))
    model = fresh_model(known.settings.model, known.data, 0)
    load_weights(model, parent_weights(file), f"the network of {file}")
    beside = replace(known, model=model, mask=None)
    return (beside, known) if files[0] else (known, beside)


def _guessing(part: str, found: Barrier, examples: Examples) -> str | None:
    """A word where a flat line says nothing: both ends are no better than always naming the commonest class."""
    if not isinstance(examples, Split):
        return None
    guess = 1.0 - float(examples.targets.bincount().max()) / len(examples)
    if min(found.errors[0], found.errors[-1]) < guess:
        return None
    return f"{part}: neither network is better than naming the commonest class ({100 * guess:.1f} % wrong): a flat line says nothing"


def told(found: Barrier) -> dict[str, Any]:
    """As plain values.

    >>> told(Barrier((0.0, 1.0), (0.1, 0.1), (0.2, 0.2)))["connected"]
    True
    """
    return {
        "alphas": list(found.alphas), "errors": list(found.errors), "losses": list(found.losses), "barrier": found.barrier,
        "loss_barrier": found.loss_barrier, "connected": found.connected,
    }  # fmt: skip
