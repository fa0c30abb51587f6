"""`bench`: how fast a finished network is here, beside other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lehr.base.draws import Purpose, Stream
from lehr.base.environment import environment
from lehr.base.errors import require
from lehr.deploy.pack import opened
from lehr.deploy.race import AGAINST, race
from lehr.recipes.network import JudgeSettings, open_network
from lehr.runtime.file import read
from lehr.runtime.graph import graph_of


class BenchSettings(JudgeSettings):
    """Which network, what it is compared with, and how."""

    against: tuple[str, ...] = ("torch",)
    batch: int = Field(default=1, ge=1)
    threads: int | None = Field(default=None, ge=1)
    seconds: float = Field(default=2.0, gt=0)
    dtype: Literal["fp32", "bf16"] = "fp32"


def bench(settings: BenchSettings) -> dict[str, Any]:
    """Time a network on test inputs of its data set, or one out of a ``.lehr`` file alone on random inputs.

    Returns:
        ``engines``: name, ``milliseconds`` (median), ``low`` and ``high`` (quartiles) for a batch; ``ratio`` of the fastest of the
        others to lehr; ``layers``: how each is run, and for how long; ``torch``: what the engine lacks.

    Raises:
        LehrError: there is no such network, or an engine is not installed.
    """
    for name in settings.against:
        require(name in AGAINST, f"there is no engine {name!r} to compare with: choose from {', '.join(AGAINST)}")
    model, inputs = _subject(settings)
    found = race(
        model, inputs, settings.against, threads=settings.threads, seconds=settings.seconds, dtype=settings.dtype
    )
    return {
        "run": settings.run,
        "batch": found.batch,
        "threads": found.threads,
        "engine": found.report.engine,
        "engines": [
            {"engine": lap.engine, "milliseconds": 1e3 * lap.median, "low": 1e3 * lap.low, "high": 1e3 * lap.high}
            for lap in found.laps
        ],
        "ratio": found.ratio,
        "layers": [
            {
                "layer": one.name,
                "kernel": "dense" if one.tiling.group else "sparse",
                "microseconds": 1e6 * one.seconds,
                "other": None if one.other is None else 1e6 * one.other,
                "density": one.density,
            }
            for one in found.report.layers
        ],
        "torch": list(found.report.torch),
        "environment": environment(),
    }


def _subject(settings: BenchSettings) -> tuple[nn.Module, Tensor]:
    """The network, and a batch of inputs."""
    path = Path(settings.run)
    if path.suffix == ".lehr" and settings.data is None and settings.model is None:
        contents = read(path)
        whole = contents.graph is not None and isinstance(contents.about.get("architecture"), dict)
        require(whole, f"{path} does not hold its architecture, or its inputs: give --data and --model")
        assert contents.graph is not None
        model, _ = opened(path, contents)
        ((_, shape), *more) = graph_of(contents.graph).inputs
        require(not more, f"{path} takes several inputs: time it from Python, with lehr.deploy.race")
        return model.eval(), torch.randn(settings.batch, *shape, generator=torch.Generator().manual_seed(0))
    network = open_network(settings)
    data = network.data
    count = min(settings.batch, len(data.test))
    require(count == settings.batch, f"batch is {settings.batch} and {data.name} has {count} test examples: give fewer")
    order = torch.from_numpy(Stream(0, "bench", Purpose.SHUFFLE).bits(0, count).astype("int64")) % len(data.test)
    return network.model, data.prepare.judged(data.test.take(order).inputs)
