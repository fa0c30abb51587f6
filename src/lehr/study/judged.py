"""`ensemble evaluate`: the ensembles of studies judged, once each, and measured."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError, unknown
from lehr.base.files import read_json, write_json
from lehr.recipes.ensemble import Members, judge, open_members, sampled
from lehr.recipes.ensemble_bench import latency, pack_members
from lehr.recipes.questions import Answers, EnsembleSettings, Questions, alike, ask
from lehr.runs import RunFolder
from lehr.study.ensembles import labels, study_names
from lehr.study.folder import read_study_folder
from lehr.study.teams import NOTHING, Extra, Team, left_out, teams
from lehr.training.progress import bar

FOLDER = "ensembles"
MEASURED = "measured"  # bytes and times, told where the weights are gone
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
        files: where families are written as one file each, and every row's first ensemble is weighed and timed, anew each time, but for those whose weights are gone since; None for neither.
        show: a progress bar.

    Raises:
        LehrError: there is no study, or all of its runs failed, or weights were not kept of one that is not judged (or, with `files`, measured) yet, or no study has what `extra` asks for, or a row like `against`.
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
    for _, team in found:
        kept = _kept(team, settings)
        result = _known(kept, weights := _digests(team))
        if result is None:
            members = _open(team)
            result = judge(members, settings, answers=asking.answers(team, members))
            write_json(kept, {**result, "weights": weights})
        asking.over(team)
        judged.append((team, result))
    if files is not None:
        judged = _measured(judged, settings, files, names, show=show)
    return judged


def _known(kept: Path, weights: Sequence[str | None]) -> dict[str, Any] | None:
    """What was found before; None where that was of other weights, as far as they are there, or the file is damaged."""
    result = _read(kept)
    before = result.pop("weights", None)
    result.pop(MEASURED, None)
    if "probabilities" in result and isinstance(before, list) and len(before) == len(weights):
        return result if all(now in (None, then) for now, then in zip(weights, before, strict=True)) else None
    return None


def _read(kept: Path) -> dict[str, Any]:
    """The file of an ensemble; empty where there is none, or it is damaged."""
    with suppress(LehrError):
        value = read_json(kept) if kept.is_file() else None
        return value if isinstance(value, dict) else {}
    return {}


def _digests(team: Team) -> list[str | None]:
    """Of the weights of every run; None where nothing is left of it."""
    return [folder.result().get("weights_digest") if folder.done else None for folder in map(RunFolder, team.runs)]


def _measured(judged: Judged, settings: EnsembleSettings, files: Path, names: dict[str, str], *, show: bool) -> Judged:
    """The same with bytes, and times of the first ensemble of each row: they are the machine's of this hour, and measured anew where there are weights."""
    firsts: set[tuple[str, str, str]] = set()
    found: Judged = []
    with bar("size and time", len(judged), show=show) as line:
        for team, result in judged:
            row = (team.study, team.label, team.way)
            kept = _kept(team, settings)
            if there(team):
                measured = _measure(team, result, files, names, timed=row not in firsts)
                write_json(kept, {**_read(kept), MEASURED: measured})
            else:
                before = _read(kept).get(MEASURED)
                if not isinstance(before, dict):
                    raise _lost(team)
                measured = before
            firsts.add(row)
            found.append((team, result | measured))
            line.update(len(found), team.label)
    return found


def _measure(team: Team, result: dict[str, Any], files: Path, names: dict[str, str], *, timed: bool) -> dict[str, Any]:
    """Bytes of an ensemble as one file, and, if `timed`, how long its answers take."""
    members = _open(team)
    measured: dict[str, Any] = {}
    masked = _masked(team)
    file = files / (_file_name(team, names[team.study]) if masked else BESIDE)
    with suppress(LehrError):  # of what cannot be traced
        measured["bytes"] = pack_members(members, file)
    if not masked:
        file.unlink(missing_ok=True)
    if timed and result["count"] > 1:
        speed = [latency(members, batch) for batch in (1, MANY)]
        measured |= {"speed": speed, "latency": speed[0]["ratio"], "latency of many": speed[1]["ratio"]}
    return measured


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


def there(team: Team) -> bool:
    """Whether the weights of all members are."""
    return all(RunFolder(run).model.is_file() for run in team.runs)


def missing(folders: Sequence[Path]) -> list[str]:
    """A sentence for every ensemble of some studies that is not there because a run failed or is not done yet."""
    return [text for folder in dict.fromkeys(folders) for text in left_out(read_study_folder(folder))]


def _lost(team: Team) -> LehrError:
    run = next(run for run in team.runs if not RunFolder(run).model.is_file())
    return LehrError(f"the weights of {run} were not kept: set keep_weights, and run the study again")


def _open(team: Team) -> Members:
    if not there(team):
        raise _lost(team)
    members = open_members(team.runs)
    return sampled(members, team.samples, seed=team.seed) if team.samples else members


def _kept(team: Team, settings: EnsembleSettings) -> Path:
    """The file that keeps what was found, below the study, by the members and what they are judged on."""
    told = [
        VERSION,
        settings.model_dump_json(exclude={"run"}),
        str(team.samples),
        *(RunFolder(run).path.name for run in team.runs),
    ]
    name = hashlib.blake2b("\n".join(told).encode(), digest_size=8).hexdigest()
    return Path(team.study) / FOLDER / f"{name}.json"
