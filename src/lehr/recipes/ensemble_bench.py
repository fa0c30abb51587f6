"""How long an ensemble takes beside one dense network, and how large it is as one file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lehr.base.environment import cores
from lehr.base.errors import LehrError
from lehr.deploy.compile import compile
from lehr.deploy.family import save_family
from lehr.deploy.race import Run, laps
from lehr.ensembles import Ensemble
from lehr.models import create
from lehr.models.wrappers import SelfEnsemble
from lehr.recipes.ensemble import Members
from lehr.recipes.network import JudgeSettings, few, open_network
from lehr.recipes.pack import described
from lehr.recipes.parent import ancestors
from lehr.runtime.native import available
from lehr.runtime.nets import Nets

SECONDS = 1.0


def pack_members(members: Members, out: Path) -> int:
    """Write all members as one ``.lehr`` file; its size in bytes."""
    saved = save_family(
        members.networks, out, masks=members.masks, example_inputs=few(members.data),
        **described(open_network(JudgeSettings(run=members.runs[0]))),
    )  # fmt: skip
    return saved.size


def latency(
    members: Members, batch: int = 1, *, threads: int | None = None, seconds: float = SECONDS
) -> dict[str, Any]:
    """Time all members together beside the dense network that they come from, or that is inside of one that is an ensemble by itself, on test examples; see `race`."""
    test = members.data.test
    inputs = members.data.prepare.judged(test.take(torch.arange(batch) % len(test)).inputs)
    first = open_network(JudgeSettings(run=ancestors(members.runs[0])[-1]))
    dense = first.model.eval()
    if isinstance(dense, SelfEnsemble):
        dense = create(first.settings.model.partition(":")[2], **members.data.sizes).eval()
    return race(dense, members.networks, inputs, threads=threads, seconds=seconds)


def race(
    dense: nn.Module,
    networks: Sequence[nn.Module],
    inputs: Tensor,
    *,
    threads: int | None = None,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Time the members of an ensemble together beside one dense network, every way in turn.

    Args:
        dense, networks: in evaluation mode.
        inputs: the examples, at once.
        threads: of every way; by default all cores.
        seconds: of measuring for each way.

    Returns:
        ``batch``, ``threads``; ``milliseconds``: median by way; ``ratio``: of the fastest way for all members to the fastest for one dense network.
    """
    threads = threads or cores()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        one: dict[str, Run] = {"one dense network, torch": _torch(dense, inputs)}
        every: dict[str, Run] = {
            "members in turn, torch": _torch(Ensemble(networks, batched=False), inputs),
        }
        stacked = _torch(Ensemble(networks), inputs)
        with suppress(LehrError):  # some networks cannot run at once
            stacked()
            every["members at once, torch"] = stacked
        if available():
            array, alone = inputs.numpy(), compile(dense, inputs, threads=threads)
            one["one dense network, lehr"] = lambda: alone(array)
            fast = [compile(network, inputs, threads=threads) for network in networks]
            every["members in turn, lehr"] = lambda: [one(array) for one in fast]
            whole = [one.net for one in fast if one.net is not None]
            if len(whole) == len(fast):
                nets = Nets(whole)
                every["members together, lehr"] = lambda: nets.members(array)
        times = {lap.engine: lap.median for lap in laps(one | every, seconds)}
    finally:
        torch.set_num_threads(before)
    return {
        "batch": len(inputs),
        "threads": threads,
        "milliseconds": {name: 1e3 * median for name, median in times.items()},
        "ratio": min(times[name] for name in every) / min(times[name] for name in one),
    }


def _torch(network: nn.Module, inputs: Tensor) -> Run:
    def run() -> object:
        with torch.inference_mode():
            return network(inputs)

    return run
