"""Study files: YAML in which lists are the axes of a grid."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import yaml

from lehr.base.errors import LehrError
from lehr.runs import validated
from lehr.study.plan import Study

RESERVED = frozenset(Study.model_fields)


def read_study(path: Path) -> Study:
    """A study from its file.

    What is not the study's own (`title`, `choose`, ...) is a setting of all its grids; ``grids`` lists
    settings that each of them has besides, or instead. Without ``grids`` there is one.

    Raises:
        LehrError: the file is not YAML, or not of this form.
    """
    if not path.is_file():
        raise LehrError(f"there is no study {path}: give the path of a YAML file")
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise LehrError(f"{path} is not YAML ({' '.join(str(error).split())}): correct it") from None
    if not isinstance(value, dict) or not value:
        raise LehrError(f"{path} has no settings: write `data: digits`, `method: [one-shot, gradual]` and so on")
    return study_of(value, path.stem)


def study_of(value: dict[str, Any], title: str) -> Study:
    """A study from plain values.

    >>> study = study_of({"data": "digits", "grids": [{"method": "one-shot"}, {"method": "gradual", "seed": [0, 1]}]}, "t")
    >>> study.title, study.grids[1]
    ('t', {'data': 'digits', 'method': 'gradual', 'seed': [0, 1]})
    """
    own = {name: value[name] for name in value if name in RESERVED and name != "grids"}
    common = {_name(name): setting for name, setting in value.items() if name not in RESERVED}
    grids = value.get("grids", [{}])
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise LehrError(
            f"grids is {reprlib.repr(grids)}: give a list of grids, each with its settings, `- {{method: gradual}}`"
        )
    merged = tuple(common | {_name(name): setting for name, setting in grid.items()} for grid in grids)
    return validated(Study, {"title": title} | own | {"grids": merged})


def _name(name: Any) -> str:
    return str(name).replace("-", "_")
