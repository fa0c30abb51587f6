"""`pack`: a finished network as a small file, with its sizes and what its values cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lehr.analysis.quality import predictions, quality
from lehr.base.errors import LehrError
from lehr.data import Dataset, evaluation_batches
from lehr.data.images import Pixels
from lehr.deploy.contents import state_dict_of
from lehr.deploy.pack import save
from lehr.deploy.saved import Values
from lehr.recipes.network import JudgeSettings, Network, few, open_network
from lehr.runtime.file import read


class PackSettings(JudgeSettings):
    """Which network is packed, and how its kept weights are written."""

    values: Values = "fp32"
    graph: bool = True  # so that the file can be run without torch


def pack(settings: PackSettings, out: Path) -> dict[str, Any]:
    """Write the file `out` and say how large it is; where values are rounded, also what that does to validation accuracy.

    Returns:
        ``bytes``, ``bound`` (bytes), ``bits_per_weight``, ``dense`` (bytes of the same tensors dense), ``weights``,
        ``kept``; ``runs_without_torch``, and if not ``needs_torch``, what the engine lacks; with rounded values ``accuracy``, ``{"before": ..., "after": ...}`` in [0, 1] on the validation split.

    Raises:
        LehrError: there is no such network, or it is no sparse one.
    """
    network = open_network(settings)
    if network.mask is None:
        raise LehrError(
            f"{settings.run} is dense, and packing makes only sparse networks small: run lehr tune on it first"
        )
    saved = save(
        network.model,
        out,
        mask=network.mask,
        values=settings.values,
        example_inputs=few(network.data) if settings.graph else None,
        **described(network),
    )
    result: dict[str, Any] = {
        "file": str(out),
        "values": settings.values,
        "bytes": saved.size,
        "bound": saved.bound,
        "bits_per_weight": saved.bits_per_weight,
        "dense": saved.dense,
        "weights": saved.weights,
        "kept": network.mask.kept,
        "granularity": network.mask.granularity,
        "runs_without_torch": settings.graph and not saved.unknown,
        "needs_torch": list(saved.unknown),
    }
    if settings.values != "fp32":
        before = _accuracy(network)
        network.model.load_state_dict(state_dict_of(read(out).tensors))
        result["accuracy"] = {"before": before, "after": _accuracy(network)}
    return result


def _accuracy(network: Network) -> float:
    batches = evaluation_batches(network.data.validation, network.data)
    return quality(*predictions(network.model, batches)).accuracy


def described(network: Network) -> dict[str, Any]:
    """What a file says of a run's network: how it is built, what is done to images, where it comes from; arguments of `lehr.save`."""
    settings, data = network.settings, network.data
    return {
        "architecture": None if ".py" in settings.model else (settings.model, data.sizes),
        "preprocessing": preprocessing(data),
        "provenance": {"data": settings.data, "model": settings.model, "seed": settings.seed},
    }


def preprocessing(data: Dataset) -> dict[str, Any] | None:
    """What is done to images: ``(x - mean) / std`` by channel, x in 0 to 255."""
    if not isinstance(data.prepare, Pixels):
        return None
    return {"input_shape": list(data.input_shape), "mean": list(data.prepare.mean), "std": list(data.prepare.std)}
