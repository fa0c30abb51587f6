"""What is written about networks beside their tensors, and how large the file became."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from lehr.base.errors import LehrError, unknown
from lehr.base.files import write_bytes
from lehr.deploy.contents import plain
from lehr.runtime.file import Contents, pack
from lehr.runtime.tensors import Stored
from lehr.runtime.values import width

Values = Literal["fp32", "fp16", "bf16", "int8"]
CODES: dict[str, str | None] = {"fp32": None, "fp16": "F16", "bf16": "BF16", "int8": "I8"}
Architecture = tuple[str, Mapping[str, Any]]
"""The name of a built-in network, and its sizes."""


@dataclass(frozen=True)
class Saved:
    """What `save` wrote: sizes in bytes.

    Args:
        path: of the file.
        size: of the file.
        bound: ``log2 C(N, k)`` bits for each mask, the values, and the dense tensors: what no code of them could be below.
        dense: of the same tensors all dense in their own dtypes (fp32).
        weights: in the tensors, kept or not.
        unknown: what a run without torch could not do; then the file has no graph.
    """

    path: Path
    size: int
    bound: float
    dense: int
    weights: int
    unknown: tuple[str, ...] = ()

    @property
    def bits_per_weight(self) -> float:
        """``8 size / weights``."""
        return 8 * self.size / max(1, self.weights)


def about_of(
    architecture: Architecture | None,
    preprocessing: Mapping[str, Any] | None,
    provenance: Mapping[str, Any] | None,
    *,
    members: int | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What a file says of its networks, as plain data; what is None is left out.

    Raises:
        LehrError: the architecture is a file of code, or something is no plain data.
    """
    if architecture is not None and architecture[0].partition(":")[0].endswith(".py"):
        raise LehrError(
            f"the architecture {architecture[0]} is a file of yours, and no file may run code: leave it out"
        )
    about = {
        "members": members,
        "architecture": None if architecture is None else {"name": architecture[0], "sizes": dict(architecture[1])},
        "classes": None if classes is None else list(classes),
        "preprocessing": preprocessing,
        "provenance": {"lehr": version("lehr"), **(provenance or {})},
    }
    return {name: plain(value, name) for name, value in about.items() if value is not None}


def write(path: Path, contents: Contents, values: Values, tensors: Iterable[Stored], missing: tuple[str, ...]) -> Saved:
    """Write a file, beside and renamed.

    Args:
        path: of the file.
        contents: what it holds.
        values: the code of kept weights.
        tensors: of all networks, each as in a file of its own.
        missing: what a run without torch could not do.

    Raises:
        LehrError: there is no such code, or values do not fit into it.
    """
    check_values(values)
    packed = pack(contents, CODES[values])
    write_bytes(path, packed.content)
    own = [tensor for tensor in tensors if tensor.same is None]
    dense, weights = sum(t.size * width(t.dtype) for t in own), sum(t.size for t in own)
    return Saved(path, len(packed), packed.bound, dense, weights, missing)


def check_values(values: str) -> None:
    """Raise unless kept weights can be written like that."""
    if values not in CODES:
        raise unknown("kind of values", values, CODES)
