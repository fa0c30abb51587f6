"""What the runs of studies are worth together: rows of ensembles, with their spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lehr.analysis.paired import Difference, paired_difference, unpaired_difference
from lehr.base.errors import unknown
from lehr.report.ensemble_rows import EnsembleRow, numbered
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
COMPARED = ("accuracy", "nll", "ece", "corrupted accuracy", "corrupted nll", "corrupted ece")
Key = tuple[str, int]  # a row: its label, and how many members it has


def ensemble_rows(judged: Sequence[tuple[Team, dict[str, Any]]], against: str | None = None) -> list[EnsembleRow]:
    """Rows in the order of the teams, from what `lehr.recipes.ensemble.judge` gives for each of them.

    Args:
        judged: the teams with that.
        against: the name of the row that the others are held to, seed by seed where they have seeds in common; None for none.

    Raises:
        LehrError: no row has that name.
    """
    groups: dict[Key, dict[int, dict[str, Any]]] = {}
    for label, (team, result) in zip(labels([team for team, _ in judged]), judged, strict=True):
        own = groups.setdefault((label, result["count"]), {})
        own[-1 - len(own) if team.seed in own else team.seed] = result
    called = dict(zip(numbered(list(groups)), groups.values(), strict=True))
    if against is not None and against not in called:
        raise unknown("ensemble", against, called)
    reference = None if against is None else called[against]
    rows = []
    for (label, count), by_seed in groups.items():
        results = list(by_seed.values())
        found = [_measures(result) for result in results]
        columns = {
            name: [one[name] for one in found if name in one] for name in dict.fromkeys(n for one in found for n in one)
        }
        mean = {name: statistics.fmean(values) for name, values in columns.items()}
        if len(results) > 1 and count > 1:
            mean["member spread over seeds"] = _spread_over_seeds(results)
        sd = {name: spread(values) for name, values in columns.items()}
        compared = {} if reference is None or reference is by_seed else _differences(by_seed, reference)
        rows.append(EnsembleRow(label, count, len(found), mean, sd, compared))
    return rows


def _differences(own: dict[int, dict[str, Any]], other: dict[int, dict[str, Any]]) -> dict[str, Difference]:
    """By measure, over the seeds that both have; of all seeds, unpaired, where both have several and hardly one is the other's, as with deep ensembles."""
    common = [seed for seed in own if seed in other]
    pairs = len(common) > 1 or min(len(own), len(other)) < 2
    mine, others = ([_measures(row[seed]) for seed in (common if pairs else row)] for row in (own, other))
    difference = paired_difference if pairs else unpaired_difference
    return {
        name: difference([one[name] for one in mine], [one[name] for one in others])
        for name in COMPARED
        if mine and all(name in one for one in mine + others)
    }


def _spread_over_seeds(results: Sequence[dict[str, Any]]) -> float:
    """The standard deviation over seeds of a member's accuracy: the root of the sample variance, mean over members.

    >>> one, other = ({"members": [{"accuracy": a}, {"accuracy": b}]} for a, b in ((0.5, 0.9), (0.7, 0.9)))
    >>> round(_spread_over_seeds([one, other]), 4)
    0.1
    """
    by_member = zip(*([one["accuracy"] for one in result["members"]] for result in results), strict=True)
    return math.sqrt(statistics.fmean(map(statistics.variance, by_member)))


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
