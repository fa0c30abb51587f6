"""Studies whose runs take a fraction of a second, and what they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lehr.base.errors import Interrupted
from lehr.report.table import markdown_table
from lehr.study.definition import Study
from lehr.study.file import study_of
from lehr.study.findings import Findings
from lehr.study.run import run_study
from lehr.training import loop

SETTINGS = {
    "data": "digits", "model": "lenet_300_100", "epochs": 2, "tune_epochs": 1, "batch_size": 64, "sparsity": 0.9,
}  # fmt: skip
BITS = ("model.safetensors", "mask.safetensors", "metrics.jsonl", "result.json")


def small(**values: Any) -> Study:
    return study_of({**SETTINGS, **values}, "small")


def small_file(file: Path, **values: Any) -> Path:
    """The same for the command line."""
    file.write_text(yaml.safe_dump({**SETTINGS, **values}, sort_keys=False))
    return file


def table(found: Findings) -> str:
    """What is told of a study, without times."""
    return markdown_table(found.rows)


def bits(out: Path) -> dict[str, bytes]:
    """Every byte that the runs leave, but for times, locks and where the parent lies."""
    return {str(path.relative_to(out)): path.read_bytes() for path in (out / "runs").rglob("*") if path.name in BITS}


def stamps(out: Path) -> dict[Path, int]:
    """When each result was written: a run that is done again has another."""
    return {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("result.json")}


def stopped_often(study: Study, out: Path, every: int) -> int:
    """Run a study whose runs stop after every so many batches, and go on until it is done; how often it stopped."""
    stops = count = 0

    def batch(self: Any, *given: Any, plain: Any = loop._Run.batch) -> None:
        nonlocal count
        plain(self, *given)
        count += 1
        if count % every == 0:
            self.pause(stop=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Run, "batch", batch)
        while True:
            try:
                run_study(study, out)
            except Interrupted:
                stops += 1
            else:
                return stops
