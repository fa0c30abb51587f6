"""What the runs of studies are worth together: rows of ensembles, with their spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lehr.report.ensemble_rows import EnsembleRow
from lehr.report.rows import spread
from lehr.study.teams import Team


def labels(teams: Sequence[Team]) -> list[str]:
    """What each is called: its label, after the name of its study where several have that.

    >>> labels([Team("dense", 0, (), study="x/a"), Team("dense", 0, (), study="x/b"), Team("random", 0, (), study="x/a")])
    ['a: dense', 'b: dense', 'random']
    """
    named = study_names(teams)
    studies: dict[str, set[str]] = {}
    for team in teams:
        studies.setdefault(team.label, set()).add(team.study)
    return [f"{named[team.study]}: {team.label}" if len(studies[team.label]) > 1 else team.label for team in teams]


def study_names(teams: Sequence[Team]) -> dict[str, str]:
    """The shortest end of the path of every study that no other one has.

    >>> study_names([Team("dense", 0, (), study="x/one/out"), Team("dense", 0, (), study="x/two/out"), Team("dense", 0, (), study="y/c")])
    {'x/one/out': 'one/out', 'x/two/out': 'two/out', 'y/c': 'c'}
    """
    paths = {team.study: Path(team.study).parts for team in teams}
    names = {}
    for study, parts in paths.items():
        others = [other for other in paths.values() if other != parts]
        length = next(
            (n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in others)), len(parts)
        )
        names[study] = str(Path(*parts[-length:])) if parts else ""
    return names


MEASURES = ("accuracy", "nll", "ece", "brier")


def ensemble_rows(judged: Sequence[tuple[Team, dict[str, Any]]]) -> list[EnsembleRow]:
    """Rows in the order of the teams, from what `lehr.recipes.ensemble.judge` gives for each of them."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for label, (_, result) in zip(labels([team for team, _ in judged]), judged, strict=True):
        groups.setdefault((label, result["count"]), []).append(result)
    rows = []
    for (label, count), results in groups.items():
        found = [_measures(result) for result in results]
        columns = {
            name: [one[name] for one in found if name in one] for name in dict.fromkeys(n for one in found for n in one)
        }
        mean = {name: statistics.fmean(values) for name, values in columns.items()}
        if len(results) > 1 and count > 1:
            mean["member spread over seeds"] = _spread_over_seeds(results)
        rows.append(
            EnsembleRow(label, count, len(found), mean, {name: spread(values) for name, values in columns.items()})
        )
    return rows


def _spread_over_seeds(results: Sequence[dict[str, Any]]) -> float:
    """The sample standard deviation over seeds of a member's accuracy, mean over members.

    >>> one, other = ({"members": [{"accuracy": a}, {"accuracy": b}]} for a, b in ((0.5, 0.9), (0.7, 0.9)))
    >>> round(_spread_over_seeds([one, other]), 4)
    0.0707
    """
    by_member = zip(*([one["accuracy"] for one in result["members"]] for result in results), strict=True)
    return statistics.fmean(map(statistics.stdev, by_member))


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
    told |= dict(result["cost"]) | {
        name: result[name] for name in ("bytes", "latency", "latency of many") if result.get(name) is not None
    }
    return {name: value for name, value in told.items() if not math.isnan(value)}
