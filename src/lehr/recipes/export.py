"""`export`: a finished network as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lehr.base.errors import require
from lehr.deploy.export import ZEROS, export_onnx, export_safetensors
from lehr.recipes.network import JudgeSettings, few, open_network
from lehr.runs import RunFolder


class ExportSettings(JudgeSettings):
    """Which network is exported, and as what."""

    format: Literal["onnx", "safetensors"] = "onnx"


def export(settings: ExportSettings, out: Path) -> dict[str, Any]:
    """Write the file `out`, dense.

    Returns:
        ``file``, ``format``, ``bytes``, ``weights``, ``nonzeros``; for ONNX also ``difference``, the largest between an
        output of torch and of ONNX Runtime relative to the largest output, and ``notes``.

    Raises:
        LehrError: there is no such network, `out` is the file that it lies in, or it cannot be exported.
    """
    sources = (Path(settings.run), RunFolder(settings.run).model)
    require(
        out.resolve() not in [path.resolve() for path in sources],
        f"{out} is the network that is exported: give another file for --out",
    )
    network = open_network(settings)
    weights = list(network.model.parameters())
    result: dict[str, Any] = {"file": str(out), "format": settings.format}
    counts = {"weights": sum(w.numel() for w in weights), "nonzeros": sum(int((w != 0).sum()) for w in weights)}
    if settings.format == "safetensors":
        return {**result, "bytes": export_safetensors(network.model, out).size, **counts}
    exported = export_onnx(network.model, out, few(network.data))
    notes = [] if network.mask is None else [ZEROS]
    return {**result, "bytes": exported.size, **counts, "difference": exported.difference, "notes": notes}
