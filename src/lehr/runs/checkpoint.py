"""A checkpoint: everything a run needs to go on to the same bits, as safetensors and JSON.

Tensors are named ``model/NAME``, ``optimizer/INDEX/KEY``, ``target/NAME`` (packed bits),
``method/NAME``, ``average/NAME``, ``learned/NAME`` and ``random``; the rest is JSON in the metadata. Nothing in it is code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lehr.base.errors import LehrError
from lehr.base.files import read_json_text
from lehr.base.tensors import write_tensors
from lehr.runs.digest import digest_of

FORMAT = "lehr-checkpoint-2"


def checkpoint_interval() -> float:
    """Seconds between checkpoints: ``LEHR_CHECKPOINT_SECONDS``, or 30."""
    text = os.environ.get("LEHR_CHECKPOINT_SECONDS", "30")
    try:
        return float(text)
    except ValueError:
        raise LehrError(f"LEHR_CHECKPOINT_SECONDS is {text!r}: give a number of seconds") from None


@dataclass(frozen=True)
class Checkpoint:
    """A run at rest between two optimizer steps.

    `position` counts epochs, batches of the present epoch and metric lines; `optimizer` is a
    ``state_dict()["state"]``; `attachment` is what `lehr.Attachment.state_dict` gave, or None.
    """

    settings: str  # the digest of the run's settings
    position: Mapping[str, int]
    model: Mapping[str, Tensor]
    optimizer: Mapping[int, Mapping[str, Any]]
    random: Tensor
    attachment: Mapping[str, Any] | None = None
    totals: Mapping[str, float] = field(default_factory=dict)  # running sums of the present epoch
    average: Mapping[str, Tensor] = field(default_factory=dict)  # the weights averaged so far
    learned: Mapping[str, Tensor] = field(default_factory=dict)  # of a learned mask, beside its logits
    seconds: float = 0.0  # spent so far


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, beside and renamed."""
    tensors: dict[str, Tensor | np.ndarray] = {f"model/{name}": t for name, t in checkpoint.model.items()}
    scalars: dict[str, dict[str, Any]] = {}
    for index, state in checkpoint.optimizer.items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                scalars.setdefault(str(index), {})[key] = value
    tensors |= {f"average/{name}": t for name, t in checkpoint.average.items()}
    tensors |= {f"learned/{name}": t for name, t in checkpoint.learned.items()}
    tensors["random"] = checkpoint.random
    attachment = None
    if checkpoint.attachment is not None:
        method = dict(checkpoint.attachment["method"])
        target = dict(method.pop("target"))
        tensors |= {f"target/{name}": bits for name, bits in target.pop("bits").items()}
        tensors |= {f"method/{name}": tensor for name, tensor in method.pop("tensors", {}).items()}
        attachment = {**checkpoint.attachment, "method": method, "target": target}
    state = {
        "settings": checkpoint.settings,
        "position": dict(checkpoint.position),
        "totals": dict(checkpoint.totals),
        "seconds": checkpoint.seconds,
        "scalars": scalars,
        "attachment": attachment,
    }
    # A flipped bit would not show by itself.
    header = {"format": FORMAT, "state": state, "check": digest_of(tensors, state)}
    write_tensors(path, tensors, {"lehr": json.dumps(header)})


def load_checkpoint(path: Path, settings: str) -> Checkpoint:
    """Read a checkpoint of a run with the given settings; anything damaged is one clear sentence."""
    remedy = f"delete {path.name} to start this run over"
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("lehr", "{}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise LehrError(f"the checkpoint {path} is damaged ({error}): {remedy}") from None
    header = read_json_text(text, str(path))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise LehrError(f"{path} is not a checkpoint of this version (its format is not {FORMAT!r}): {remedy}")
    if header.get("check") != digest_of(tensors, header.get("state")):
        raise LehrError(f"the checkpoint {path} is damaged (its checksum does not match): {remedy}")
    state = header["state"]
    if state["settings"] != settings:
        raise LehrError(f"the checkpoint {path} is of a run with other settings: {remedy}")
    optimizer: dict[int, dict[str, Any]] = {int(i): dict(values) for i, values in state["scalars"].items()}
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "target": {}, "method": {}, "average": {}, "learned": {}}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "optimizer":
            index, _, key = rest.partition("/")
            optimizer.setdefault(int(index), {})[key] = tensor
        elif kind in groups:
            groups[kind][rest] = tensor
    attachment = state["attachment"]
    if attachment is not None:
        attachment["method"]["target"] = {"bits": groups["target"], **attachment.pop("target")}
        attachment["method"]["tensors"] = groups["method"]
    return Checkpoint(
        settings=settings,
        position=state["position"],
        model=groups["model"],
        optimizer=optimizer,
        random=tensors["random"],
        attachment=attachment,
        totals=state["totals"],
        average=groups["average"],
        learned=groups["learned"],
        seconds=state.get("seconds", 0.0),
    )
