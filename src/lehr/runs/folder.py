"""`RunFolder`: where a run keeps its settings, metrics, checkpoint and results.

``settings.json``, ``metrics.jsonl`` (a line for each epoch), ``checkpoint.safetensors`` while it goes on,
then ``model.safetensors``, ``mask.safetensors`` for a tuned one, ``learned.safetensors`` where a mask was learned, ``at-500.safetensors`` where the weights of
step 500 were to be kept, ``origin.safetensors`` where weights were rewound, and ``result.json``. Everything in
these files is a pure function of the settings and the machine; times, and where it ran, lie apart in ``timing.json``.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from safetensors import safe_open
from torch import Tensor

from lehr.base.errors import Busy, LehrError
from lehr.base.files import cannot_write, read_json, write_json, write_text
from lehr.base.tensors import write_tensors
from lehr.runs.digest import weights_digest
from lehr.runs.members import ChildSettings, CycleSettings
from lehr.runs.settings import Settings, TrainSettings, TuneSettings, validated
from lehr.runs.tickets import TicketSettings
from lehr.runs.weights import read_weights

LOCK_SECONDS = 3.0  # a worker whose parent was killed needs a moment to save and leave
FAILURE = "failure.json"  # why a run of a study could not be done; it is tried again at the next start
KINDS: dict[str, type[Settings]] = {
    "train": TrainSettings, "tune": TuneSettings, "ticket": TicketSettings, "child": ChildSettings, "cycle": CycleSettings,
}  # fmt: skip


class RunFolder:
    """The folder of one run.

    >>> RunFolder("/tmp/_doc_run").model.name
    'model.safetensors'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.settings_file = self.path / "settings.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.model = self.path / "model.safetensors"
        self.mask = self.path / "mask.safetensors"
        self.origin = self.path / "origin.safetensors"
        self.learned = self.path / "learned.safetensors"
        self.result_file = self.path / "result.json"
        self.timing_file = self.path / "timing.json"

    # -- on the way ---------------------------------------------------------------------------
    def keep(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Write the weights of a step, as they were before it."""
        _write_signed(self._at(step), tensors)

    def kept(self, step: int) -> dict[str, Tensor] | None:
        """The weights of a step; None where they were not kept.

        Raises:
            LehrError: they are not those that were written.
        """
        return _read_signed(self._at(step)) if self._at(step).is_file() else None

    def keep_origin(self, tensors: dict[str, Tensor]) -> None:
        """Write the weights of the step that is gone back to."""
        _write_signed(self.origin, tensors)

    def origin_weights(self) -> dict[str, Tensor]:
        """The weights of the step that is gone back to.

        Raises:
            LehrError: they are not those that were written.
        """
        return _read_signed(self.origin)

    def _at(self, step: int) -> Path:
        return self.path / f"at-{step}.safetensors"

    # -- beginning ----------------------------------------------------------------------------
    def begin(self, settings: Settings, *, resume: bool) -> None:
        """Write the settings of a new run, or check that those of an old one are the same."""
        if self.path.exists() and not self.path.is_dir():
            raise LehrError(f"{self.path} is a file: give a folder for the run")
        if not self.settings_file.exists():
            self._refuse_foreign()
            kind = next(name for name, cls in KINDS.items() if type(settings) is cls)
            write_json(self.settings_file, {"kind": kind, **settings.model_dump()})
            return
        if not resume:
            raise LehrError(f"{self.path} holds a run already: add --resume to continue it, or give another folder")
        if self.settings().digest != settings.digest:
            old, new = self.settings().model_dump(), settings.model_dump()
            changed = [name for name in new if old.get(name) != new[name] and name != "parent"]
            raise LehrError(
                f"{self.path} holds a run with other settings ({', '.join(changed) or 'another kind of run'} differ): "
                "give the same ones to resume, or another folder"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process out of the folder; the lock goes with the process."""
        self._refuse_foreign()  # before a lock is left in a folder that is not ours
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / "lock").open("w")
        except FileExistsError:
            raise LehrError(f"{self.path} is a file: give a folder for the run") from None
        except OSError as error:
            raise cannot_write(self.path, error) from None
        with file:
            self._lock(file)
            for half in self.path.glob(".*.part"):  # a process that was killed while it wrote has left them
                half.unlink(missing_ok=True)
            yield

    @property
    def busy(self) -> bool:
        """Whether a process has locked the folder just now."""
        try:
            file = (self.path / "lock").open("r")
        except OSError:
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _refuse_foreign(self) -> None:
        if not self.settings_file.exists() and holds_something(self.path):
            raise LehrError(f"{self.path} holds something else than a run: give an empty or a new folder")

    def _lock(self, file: TextIO) -> None:
        patience = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > patience:
                    raise Busy(f"another process works in {self.path}: wait for it or give another folder") from None
                time.sleep(0.1)

    def settings(self) -> Settings:
        """The settings of this run."""
        if not self.settings_file.is_file():
            raise LehrError(f"{self.path} is not a run: it has no settings.json")
        values = read_json(self.settings_file)
        if not isinstance(values, dict) or values.get("kind") not in KINDS:
            raise LehrError(f"{self.settings_file} is damaged: it names no kind of run")
        return validated(KINDS[values.pop("kind")], values)

    # -- metrics ------------------------------------------------------------------------------
    def metrics(self) -> list[dict[str, Any]]:
        """All metric lines so far; a line half written by a kill is left out."""
        if not self.metrics_file.exists():
            return []
        rows = []
        for line in self.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def add_metrics(self, row: dict[str, Any]) -> None:
        """Append one line."""
        try:
            with self.metrics_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())  # the checkpoint that knows of it is on the disk too
        except OSError as error:
            raise cannot_write(self.metrics_file, error) from None

    def cut_metrics(self, count: int) -> None:
        """Keep the first `count` lines: those that the checkpoint knows of."""
        rows = self.metrics()[:count]
        write_text(self.metrics_file, "".join(json.dumps(row) + "\n" for row in rows))

    # -- results ------------------------------------------------------------------------------
    @property
    def done(self) -> bool:
        """Whether the run has ended and left its result."""
        return self.result_file.is_file()

    def result(self) -> dict[str, Any]:
        """What the run ended with."""
        if not self.done:
            raise LehrError(f"the run in {self.path} has not ended: continue it with --resume")
        value = read_json(self.result_file)
        if not is_result(value):
            raise LehrError(f"{self.result_file} is damaged: it has not the values of a result")
        return dict(value)

    def finish(self, tensors: dict[str, Tensor], result: dict[str, Any], timing: dict[str, Any]) -> None:
        """Write the network and the result, and drop the checkpoint; the result is last and marks the end."""
        write_tensors(self.model, tensors, {"format": "pt"})
        write_json(self.timing_file, timing)
        write_json(self.result_file, result | {"weights_digest": weights_digest(tensors)})
        self.checkpoint.unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Record that the run cannot end well, and why."""
        write_json(self.result_file, {"failed": reason})
        self.checkpoint.unlink(missing_ok=True)

    def weights(self) -> dict[str, Tensor]:
        """The network's tensors by name."""
        if not self.model.is_file():
            hint = "continue it with --resume" if self.settings_file.exists() else "give the folder of a finished run"
            raise LehrError(f"{self.path} has no model.safetensors: {hint}")
        tensors = read_weights(self.model)
        known = self.result().get("weights_digest") if self.done else None
        if known is not None and known != weights_digest(tensors):
            raise LehrError(f"{self.model} is damaged: its checksum does not match; restore it, or train again")
        return tensors


def _write_signed(file: Path, tensors: dict[str, Tensor]) -> None:
    write_tensors(file, tensors, {"digest": weights_digest(tensors)})  # one entry: several have no order of their own


def _read_signed(file: Path) -> dict[str, Tensor]:
    tensors = read_weights(file)
    with safe_open(file, "pt") as opened:
        known = (opened.metadata() or {}).get("digest")
    if known != weights_digest(tensors):
        raise LehrError(f"{file} is damaged: its checksum does not match; delete it, and it is made again")
    return tensors


def holds_something(folder: Path) -> bool:
    """Whether a folder holds more than a lock and what a killed process had half written.

    >>> holds_something(Path("/nowhere"))
    False
    """
    return folder.is_dir() and any(p.name != "lock" and p.suffix != ".part" for p in folder.iterdir())


def is_result(value: object) -> bool:
    """Whether this has the form of a run's result: a reason why it failed, or scores and counts.

    >>> is_result({"failed": "the loss became nan"}), is_result({"test": 3})
    (True, False)
    """
    if not isinstance(value, dict):
        return False
    if "failed" in value:
        return isinstance(value["failed"], str)
    scores = [value.get(part) for part in ("validation", "test")]
    optional = [s["bits_per_character"] for s in scores if isinstance(s, dict) and "bits_per_character" in s]
    optional += [value[cost] for cost in ("bytes", "milliseconds") if cost in value]
    return (
        all(isinstance(s, dict) and all(type(s.get(k)) is float for k in ("accuracy", "nll")) for s in scores)
        and all(type(number) in (int, float) for number in optional)
        and all(type(value.get(k)) is int for k in ("parameters", "nonzeros"))
        and all(type(value.get(k, 0)) is int for k in ("kept", "weights"))
        and all(isinstance(note, str) for note in value.get("notes") or [])
        and isinstance(value.get("notes", []), list)
    )
