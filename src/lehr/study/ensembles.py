"""What the runs of studies are worth together: ensembles by row and seed, and rows with their spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError, require
from lehr.report.summary import spread
from lehr.study.kinds import kinds
from lehr.study.plan import Run
from lehr.study.run import Findings, expected


@dataclass(frozen=True)
class Team:
    """The runs of one ensemble: its row, the seed of the family, and the folders of the members in order."""

    label: str
    seed: int
    runs: tuple[str, ...]
    samples: int = 0  # networks that are drawn around the runs instead of them


def teams(found: Findings, out: Path, *, deep: int | None = None, swag: int | None = None) -> list[Team]:
    """The ensembles of a study, by row and seed.

    Children and cycles of one family are an ensemble; every other run is one by itself. Dense runs are also combined across seeds.

    Args:
        found: of the study.
        out: its folder.
        deep: of how many dense runs, next to each other by seed, a deep ensemble is made; None for none.
        swag: how many networks are drawn around the dense cycles of a row at a constant rate; None for none.

    Raises:
        LehrError: a run failed or its weights were not kept, or there are fewer dense runs.
    """
    if found.failures:
        worst = found.failures[0]
        raise LehrError(
            f"{len(found.failures)} runs failed, the first, {worst.label}, because: {worst.result['failed']}"
        )
    groups: dict[tuple[str, int], list[Run]] = {}
    dense: dict[str, list[Run]] = {}
    for run in expected(found.study, found.runs, found.cells):
        if not run.settings.epochs and run.kind == "train":
            continue  # what cycles begin with
        numbered = kinds[run.kind].member is not None
        groups.setdefault((_row(run), run.seed if numbered else run.settings.seed), []).append(run)
        if run.kind == "train":
            dense.setdefault(_row(run), []).append(run)
    made = [
        Team(label, seed, tuple(_path(run, out) for run in sorted(runs, key=lambda run: run.member)))
        for (label, seed), runs in groups.items()
    ]
    for label, runs in dense.items() if deep is not None else ():
        assert deep is not None
        require(deep >= 2, f"deep is {deep}: a deep ensemble has at least 2 networks")
        require(len(runs) >= deep, f"deep is {deep} and {label} has {len(runs)} seeds: train more")
        ordered = sorted(runs, key=lambda run: run.seed)
        made += [
            Team(
                f"deep ensemble of {label}" if len(dense) > 1 else "deep ensemble",
                ordered[i].seed,
                tuple(_path(run, out) for run in ordered[i : i + deep]),
            )
            for i in range(0, len(ordered) - deep + 1, deep)
        ]
    for (label, seed), runs in groups.items() if swag is not None else ():
        if len(runs) > 1 and all(
            run.kind == "cycle" and not run.sparsity and run.settings.schedule == "constant" for run in runs
        ):
            assert swag is not None
            ordered = sorted(runs, key=lambda run: run.member)
            made.append(Team(f"SWAG of {label}", seed, tuple(_path(run, out) for run in ordered), swag))
    return made


def _row(run: Run) -> str:
    name = ", ".join(part for part in (run.panel, run.label) if part).replace(":", ", ")
    return f"{name} ({100 * run.sparsity:.3g} %)" if run.sparsity and run.kind == "tune" else name


def _path(run: Run, out: Path) -> str:
    path = run.path(out)
    if not (path / "model.safetensors").is_file():
        raise LehrError(f"the weights of {path} were not kept: set keep_weights, and run the study again")
    return str(path)


@dataclass(frozen=True)
class EnsembleRow:
    """One kind of ensemble: mean and sample standard deviation over seeds of every measure by name.

    Measures are those of the mean of probabilities; with ``logits `` before them those of the mean of logits.
    """

    label: str
    members: int
    n: int
    mean: dict[str, float]
    sd: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; an undefined spread is None."""
        sd = {name: None if math.isnan(value) else value for name, value in self.sd.items()}
        mean = {name: None if math.isnan(value) else value for name, value in self.mean.items()}
        return {"label": self.label, "members": self.members, "n": self.n, "mean": mean, "sd": sd}


MEASURES = ("accuracy", "nll", "ece", "brier")


def ensemble_rows(judged: Sequence[tuple[Team, dict[str, Any]]]) -> list[EnsembleRow]:
    """Rows in the order of the teams, from what `lehr.recipes.ensemble.judge` gives for each of them."""
    groups: dict[tuple[str, int], list[dict[str, float]]] = {}
    for team, result in judged:
        groups.setdefault((team.label, result["count"]), []).append(_measures(result))
    rows = []
    for (label, count), found in groups.items():
        columns = {
            name: [one[name] for one in found if name in one] for name in dict.fromkeys(n for one in found for n in one)
        }
        mean = {name: statistics.fmean(values) for name, values in columns.items()}
        rows.append(
            EnsembleRow(label, count, len(found), mean, {name: spread(values) for name, values in columns.items()})
        )
    return rows


def _measures(result: dict[str, Any]) -> dict[str, float]:
    told = {name: result["probabilities"][name] for name in MEASURES}
    told |= {f"logits {name}": result["logits"][name] for name in MEASURES}
    for way, prefix in (("probabilities", ""), ("logits", "logits ")):
        mean = result[way].get("corrupted", {}).get("mean", {})
        told |= {f"{prefix}corrupted {name}": mean[name] for name in MEASURES if name in mean}
    members = [one["accuracy"] for one in result["members"]]
    told |= {"member accuracy": statistics.fmean(members), "member spread": spread(members)}
    told |= result.get("diversity", {})
    if "temperature" in result:
        told |= {f"scaled {name}": result["temperature"][name] for name in ("nll", "ece")}
        told["temperature"] = result["temperature"]["value"]
    told |= dict(result["cost"]) | {name: result[name] for name in ("bytes", "latency") if name in result}
    return {name: value for name, value in told.items() if not math.isnan(value)}
