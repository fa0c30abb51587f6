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

Choice = tuple[float, tuple[tuple[str, Any], ...]]


@dataclass(frozen=True)
class Team:
    """The runs of one ensemble: its row, the seed of the family, and the folders of the members in order."""

    label: str
    seed: int
    runs: tuple[str, ...]
    samples: int = 0  # networks that are drawn around the runs instead of them
    study: str = ""


def teams(found: Findings, out: Path, *, deep: int | None = None, swag: int | None = None) -> list[Team]:
    """The ensembles of a study, by row and seed.

    Children and cycles of one family are an ensemble, at the choice (of rates and the like) that validation prefers over all of its members; every
    other run is one by itself. Dense runs are also combined across seeds.

    Args:
        found: of the study.
        out: its folder.
        deep: of how many dense runs, next to each other by seed, a deep ensemble is made; None for none.
        swag: how many networks are drawn around the dense cycles of a row at a constant rate; None for none.

    Raises:
        LehrError: a run failed or its weights were not kept, or there is nothing to combine or to draw around.
    """
    found.check_whole()
    require(deep is None or deep >= 2, f"deep is {deep}: a deep ensemble has at least 2 networks")
    require(swag is None or swag >= 1, f"swag is {swag}: give a number of networks from 1")
    runs = expected(found.study, found.runs, found.cells)
    panels: dict[str | None, str] = {}
    for run in runs:
        panels.setdefault(run.parent, run.panel)
    several = {
        label for label in {run.label for run in runs} if len({run.sparsity for run in runs if run.label == label}) > 1
    }
    families: dict[tuple[str, int, int], dict[Choice, list[Run]]] = {}
    dense: dict[str, list[Run]] = {}
    made: list[Team] = []
    for run in runs:
        own_sparsity = run.kind != "cycle" and (kinds[run.kind].member is None or run.label in several)
        label = _label(run, panels.get(run.name, run.panel), run.sparsity if own_sparsity else 0.0)
        if kinds[run.kind].member is not None:
            own = families.setdefault((label, run.seed, run.settings.seed), {})
            own.setdefault((run.settings.lr, run.choice), []).append(run)
        elif run.settings.epochs or run.kind != "train":  # a dense run of no epochs is what cycles begin with
            made.append(Team(label, run.settings.seed, (_path(run, out),), study=out.name))
            if run.kind == "train":
                dense.setdefault(label, []).append(run)
    preferred = _preferred(families, found)
    drawn = False
    for (label, seed, own_seed), choices in families.items():
        ordered = sorted(choices[preferred[label]], key=lambda run: run.member)
        paths = tuple(_path(run, out) for run in ordered)
        where = seed if own_seed == seed else own_seed
        made.append(Team(label, where, paths, study=out.name))
        constant = all(
            run.kind == "cycle" and run.settings.schedule == "constant" and not run.sparsity for run in ordered
        )
        if swag is not None and len(ordered) > 1 and constant:
            made.append(Team(f"SWAG of {label}", where, paths, swag, out.name))
            drawn = True
    require(swag is None or drawn, f"swag is {swag} and {out} has no dense cycles at a constant rate: leave it out")
    for label, own_runs in dense.items() if deep is not None else ():
        assert deep is not None
        require(len(own_runs) >= deep, f"deep is {deep} and {label} has {len(own_runs)} seeds: train more")
        ordered = sorted(own_runs, key=lambda run: run.seed)
        for i in range(0, len(ordered) - deep + 1, deep):
            name = f"deep ensemble of {label}" if len(dense) > 1 else "deep ensemble"
            made.append(
                Team(name, ordered[i].seed, tuple(_path(run, out) for run in ordered[i : i + deep]), study=out.name)
            )
    return made


def _preferred(families: dict[tuple[str, int, int], dict[Choice, list[Run]]], found: Findings) -> dict[str, Choice]:
    """By label the choice with the best mean validation accuracy over all members and seeds that choose."""
    seeds = found.study.choose_seeds
    scores = {Path(cell.path).name: cell.result["validation"]["accuracy"] for cell in found.cells}
    by_label: dict[str, dict[Choice, list[float]]] = {}
    for (label, seed, _), choices in families.items():
        for choice, runs in choices.items():
            own = by_label.setdefault(label, {}).setdefault(choice, [])
            if seeds is None or seed in seeds or len(choices) == 1:
                own += [scores.get(run.folder, 0.0) for run in runs]
    return {
        label: max(own, key=lambda c: statistics.fmean(own[c]) if own[c] else -1.0) for label, own in by_label.items()
    }


def _label(run: Run, panel: str, sparsity: float) -> str:
    name = ", ".join(part for part in (panel, run.label) if part).replace(":", ", ")
    return f"{name} ({100 * sparsity:.3g} %)" if sparsity else name


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
    groups: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    for team, result in judged:
        groups.setdefault((team.study, team.label, result["count"]), []).append(_measures(result))
    studies: dict[str, set[str]] = {}
    for study, label, _ in groups:
        studies.setdefault(label, set()).add(study)
    rows = []
    for (study, own, count), found in groups.items():
        label = f"{study}: {own}" if len(studies[own]) > 1 else own
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
    told |= {name: value for name, value in result.get("diversity", {}).items() if value is not None}
    if "temperature" in result:
        told |= {f"scaled {name}": result["temperature"][name] for name in ("nll", "ece")}
        told["temperature"] = result["temperature"]["value"]
    told |= dict(result["cost"]) | {name: result[name] for name in ("bytes", "latency") if name in result}
    return {name: value for name, value in told.items() if not math.isnan(value)}
