"""`ensemble evaluate`: the ensembles of studies judged, once each, and told."""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError, require, unknown
from lehr.base.files import read_json, write_json, write_text
from lehr.recipes.ensemble import Members, judge, open_members, sampled
from lehr.recipes.ensemble_bench import latency, pack_members
from lehr.recipes.questions import Answers, EnsembleSettings, Questions, alike, ask
from lehr.report.drawing import CURVES
from lehr.report.ensemble_rows import EnsembleRow, numbered
from lehr.report.ensembles import markdown, page, reliability_plot, scores_plot
from lehr.runs import RunFolder
from lehr.study.ensembles import ensemble_rows, labels, study_names
from lehr.study.folder import read_study_folder
from lehr.study.teams import NOTHING, Extra, Team, left_out, teams
from lehr.training.progress import bar

FOLDER = "ensembles"
VERSION = "4"  # of what is judged: an older judgement is made again
BESIDE = "size.lehr"  # of what is no family, written to be weighed
MANY = 32  # examples at once, beside one
Judged = list[tuple[Team, dict[str, Any]]]


def judge_studies(
    folders: Sequence[Path],
    settings: EnsembleSettings,
    extra: Extra = NOTHING,
    *,
    against: str | None = None,
    files: Path | None = None,
    show: bool = False,
) -> Judged:
    """All ensembles of some studies, each judged once for the same settings and kept in a file below its study.

    Args:
        folders: of the studies.
        settings: on what they are judged.
        extra: what is made beside each study's own families, in one study at least.
        against: the row that the others will be held to; None for none.
        files: where families are written as one file each, and every row's first ensemble is weighed and timed, anew each time, as far as there are weights; None for neither.
        show: a progress bar.

    Raises:
        LehrError: there is no study, or all of its runs failed, or weights were not kept of one that is not judged yet, or no study has what `extra` asks for, or a row like `against`.
    """
    found: list[tuple[Path, Team]] = []
    for folder in {folder.resolve(): folder for folder in folders}.values():  # a study that is given twice counts once
        found += [(folder, team) for team in teams(read_study_folder(folder), folder, extra)]
    if not found:
        raise LehrError(next(iter(missing(folders)), "there is no ensemble in these studies: give others"))
    extra.check([team for _, team in found])
    called = labels([team for _, team in found])
    if against is not None and against not in called and against.rpartition(", ")[0] not in called:
        raise unknown("ensemble", against, dict.fromkeys(called))
    judged: Judged = []
    asking = _Asking(settings, [team for _, team in found], show=show)
    names = study_names([team for _, team in found])
    for folder, team in found:
        kept = folder / FOLDER / f"{_name(team, settings)}.json"
        result = _known(kept, weights := _digests(team))
        if result is None:
            members = _open(team)
            result = judge(members, settings, answers=asking.answers(team, members))
            write_json(kept, {**result, "weights": weights})
        asking.over(team)
        judged.append((team, result))
    if files is not None:
        judged = _measured(judged, files, names, show=show)
    return judged


def _known(kept: Path, weights: Sequence[str | None]) -> dict[str, Any] | None:
    """What was found before; None where that was of other weights, as far as they are there, or the file is damaged."""
    with suppress(LehrError):
        result = read_json(kept) if kept.is_file() else None
        before = result.pop("weights", None) if isinstance(result, dict) and "probabilities" in result else None
        if isinstance(before, list) and len(before) == len(weights):
            return result if all(now in (None, then) for now, then in zip(weights, before, strict=True)) else None
    return None


def _digests(team: Team) -> list[str | None]:
    """Of the weights of every run; None where nothing is left of it."""
    return [folder.result().get("weights_digest") if folder.done else None for folder in map(RunFolder, team.runs)]


def _measured(judged: Judged, files: Path, names: dict[str, str], *, show: bool) -> Judged:
    """The same with bytes, and times of the first ensemble of each row: they are the machine's of this hour, and are not kept.

    What was judged before its weights went is as it was, unless there are no weights at all.
    """
    gone = [team for team, _ in judged if not _there(team)]
    if len(gone) == len(judged):
        _open(gone[0])  # which says so
    firsts: set[tuple[str, str, str]] = set()
    found: Judged = []
    with bar("size and time", len(judged), show=show) as line:
        for team, result in judged:
            if team in gone:
                found.append((team, result))
                continue
            members = _open(team)
            measured: dict[str, Any] = {}
            masked = _masked(team)
            file = files / (_file_name(team, names[team.study]) if masked else BESIDE)
            with suppress(LehrError):  # of what cannot be traced
                measured["bytes"] = pack_members(members, file)
            if not masked:
                file.unlink(missing_ok=True)
            row = (team.study, team.label, team.way)
            if row not in firsts and result["count"] > 1:
                speed = [latency(members, batch) for batch in (1, MANY)]
                measured |= {"speed": speed, "latency": speed[0]["ratio"], "latency of many": speed[1]["ratio"]}
            firsts.add(row)
            found.append((team, result | measured))
            line.update(len(found), team.label)
    return found


class _Asking:
    """Who has answered already: a network that is in several ensembles is asked once."""

    def __init__(self, settings: EnsembleSettings, teams: Sequence[Team], *, show: bool) -> None:
        self.settings, self.show = settings, show
        self.questions: list[Questions] = []
        self.known: dict[str, Answers] = {}
        self.wanted = Counter(run for team in teams if not team.samples for run in team.runs)

    def answers(self, team: Team, members: Members) -> list[Answers]:
        """Of every member, in order."""
        own = next((one for one in self.questions if alike(one.data, members.data)), None)
        if own is None:
            own = Questions(members.data, self.settings)
            self.questions.append(own)
        runs = [None] * len(members.networks) if team.samples else list(team.runs)
        left = sum(run not in self.known for run in runs)
        found, done = [], 0
        with bar(f"{team.label}, seed {team.seed}", left * len(own.keys), show=self.show) as line:
            for run, network in zip(runs, members.networks, strict=True):
                if run is not None and run in self.known:
                    found.append(self.known[run])
                    continue
                found.append(ask(network, own, bar=line, done=done))
                done += len(own.keys)
                if run is not None:
                    self.known[run] = found[-1]
        return found

    def over(self, team: Team) -> None:
        """Forget what no ensemble to come will need."""
        if not team.samples:
            self.wanted.subtract(team.runs)
        self.known = {run: answers for run, answers in self.known.items() if self.wanted[run] > 0}


def _masked(team: Team) -> bool:
    """Whether it is a family that can be one file: several runs, each with a mask."""
    several = len(team.runs) > 1 and not team.samples
    return several and all((Path(run) / "mask.safetensors").is_file() for run in team.runs)


def _file_name(team: Team, study: str) -> str:
    way = f"{team.way}-" if team.way else ""
    name = f"{study}-{team.label}-{way}{team.seed}.lehr"
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)


def _there(team: Team) -> bool:
    return all(RunFolder(run).model.is_file() for run in team.runs)


def _open(team: Team) -> Members:
    for run in team.runs:
        require(
            RunFolder(run).model.is_file(),
            f"the weights of {run} were not kept: set keep_weights, and run the study again",
        )
    members = open_members(team.runs)
    return sampled(members, team.samples, seed=team.seed) if team.samples else members


def missing(folders: Sequence[Path]) -> list[str]:
    """A sentence for every ensemble of some studies that is not there because a run failed or is not done yet."""
    return [text for folder in dict.fromkeys(folders) for text in left_out(read_study_folder(folder))]


def unmeasured(judged: Judged) -> list[str]:
    """A sentence on the ensembles that bytes and times leave out, if there are any, of ensembles that were measured as far as they are there."""
    gone = [f"{team.label}, seed {team.seed}" for team, _ in judged if not _there(team)]
    told = f"{gone[0]}, and {len(gone) - 1} more have" if gone[1:] else f"{''.join(gone)}, has"
    return [f"{told} no bytes and times: the weights are gone"] if gone else []


def publish(
    judged: Judged,
    out: Path,
    command: Sequence[str],
    settings: EnsembleSettings,
    lacking: Sequence[str] = (),
    against: str | None = None,
) -> tuple[list[EnsembleRow], dict[str, str]]:
    """Write table, plots, numbers and a page of what was judged, `against` a row of it, and what is `missing`; the rows, and the paths by name."""
    rows = ensemble_rows(judged, against)
    about = settings.about() if settings.asked else ""
    told = [f"Corrupted: {about}."] if about else []
    told += [f"vs: the difference from {against}, paired by seed [95 %]."] if against else []
    told += lacking
    write_text(out / "ensembles.md", markdown(rows) + "".join(f"\n{text}\n" for text in told))
    write_json(out / "ensembles.json", {
        "rows": [row.as_dict() for row in rows], "left_out": list(lacking),
        "ensembles": [{"label": team.label, "seed": team.seed, "runs": [Path(run).name for run in team.runs], **result} for team, result in judged],
    })  # fmt: skip
    reliability, scores = reliability_plot(best_lines(judged)), scores_plot(rows)
    write_text(out / "reliability.svg", reliability)
    write_text(out / "ensembles.svg", scores)
    write_text(out / "ensembles.html", page(rows, scores, reliability, shlex.join(command), about, lacking))
    names = {
        "page": "ensembles.html",
        "table": "ensembles.md",
        "numbers": "ensembles.json",
        "scores": "ensembles.svg",
        "reliability": "reliability.svg",
    }
    return rows, {name: str(out / file) for name, file in names.items()}


def best_lines(judged: Judged) -> dict[str, Any]:
    """The reliability of the ensembles that are best by NLL, as many as can be told apart in a plot; each at its first seed."""
    firsts: dict[str, dict[str, Any]] = {}
    kinds = [(label, r["count"]) for label, (_, r) in zip(labels([team for team, _ in judged]), judged, strict=True)]
    for name, (_, result) in zip(numbered(kinds), judged, strict=True):
        firsts.setdefault(name, result)
    best = sorted(firsts, key=lambda label: firsts[label]["probabilities"]["nll"])[:CURVES]
    return {label: result["reliability"] for label, result in firsts.items() if label in best}


def _name(team: Team, settings: EnsembleSettings) -> str:
    """Of the members and of what they are judged on: the name of the file that keeps it."""
    told = [
        VERSION,
        settings.model_dump_json(exclude={"run"}),
        str(team.samples),
        *(RunFolder(run).path.name for run in team.runs),
    ]
    return hashlib.blake2b("\n".join(told).encode(), digest_size=8).hexdigest()
