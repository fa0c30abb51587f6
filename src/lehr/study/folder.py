"""A study's folder: what it is for, and what is in it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lehr.base.errors import LehrError
from lehr.base.files import read_json, write_json
from lehr.runs import RunFolder, validated
from lehr.runs.folder import holds_something
from lehr.study.definition import Study
from lehr.study.findings import Findings, findings_of
from lehr.study.plan import plan
from lehr.study.results import FILE, gather, read_results

STUDY = "study.json"


def is_study(folder: Path) -> bool:
    """Whether a study has been run here."""
    return (folder / STUDY).is_file()


def read_study_folder(out: Path) -> Findings:
    """What has been found so far in a study's folder; its description and its file of results alone will do."""
    study = _described(out)
    runs = plan(study)
    return findings_of(study, runs, gather(runs, out, read_results(out)), out)


def _described(out: Path) -> Study:
    """What a folder says that it is for."""
    if not is_study(out):
        raise LehrError(f"there is no study in {out}: give the folder that `lehr study run` had as --out")
    value = read_json(out / STUDY)
    if not isinstance(value, dict):
        raise LehrError(f"{out / STUDY} is damaged: it describes no study; start the study again to make it anew")
    return validated(Study, value)


def as_begun(study: Study, out: Path) -> Study:
    """The study with the threads that its folder was begun with, so that runs go on whatever the number of workers is now."""
    with suppress(LehrError):  # a new folder; a damaged description is written anew
        first, *others = (grid.get("threads") for grid in _described(out).grids)
        if type(first) is int and all(other == first for other in others):
            return study.model_copy(update={"grids": tuple({**grid, "threads": first} for grid in study.grids)})
    return study


def left_behind(study: Study, out: Path) -> list[str]:
    """Folders of runs that are done in `out` and that this study has no place for, although the one that was described there until now has."""
    with suppress(LehrError):
        before = plan(_described(out))
        kept = {run.name for run in plan(study)}
        return [run.folder for run in before if run.name not in kept and RunFolder(run.path(out)).done]
    return []


def begin(study: Study, out: Path, *, aside: bool = False) -> None:
    """Write down what the folder is for, unless that is known and this is `aside`; one that holds something else is refused."""
    if out.exists() and not out.is_dir():
        raise LehrError(f"{out} is a file: give a folder for the study")
    known = (out / STUDY).is_file() or (out / FILE).is_file()
    if holds_something(out) and not known:
        raise LehrError(f"{out} holds something else than a study: give an empty or a new folder")
    if not (aside and is_study(out)):
        write_json(out / STUDY, study.model_dump(mode="json"))
