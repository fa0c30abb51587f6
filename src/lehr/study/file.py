"""Study files: YAML in which lists are the axes of a grid."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError
from lehr.base.yaml import read_yaml
from lehr.runs import validated
from lehr.study.definition import Study

RESERVED = frozenset(Study.model_fields)


def read_study(path: Path) -> Study:
    """A study from its file.

    What is not the study's own (`title`, `choose`, ...) is a setting of all its grids; ``grids`` lists
    settings that each of them has besides, or instead. Without ``grids`` there is one.

    Raises:
        LehrError: the file is not YAML, or not of this form.
    """
    value = read_yaml(path, "study")
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
    common = _named({name: setting for name, setting in value.items() if name not in RESERVED})
    grids = value.get("grids", [{}])
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise LehrError(
            f"grids is {reprlib.repr(grids)}: give a list of grids, each with its settings, `- {{method: gradual}}`"
        )
    merged = tuple(common | _named(grid) for grid in grids)
    return validated(Study, {"title": title} | own | {"grids": merged})


def _named(values: dict[Any, Any]) -> dict[str, Any]:
    """Settings by their names with underscores."""
    names = [str(name).replace("-", "_") for name in values]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise LehrError(f"{twice} is given twice, with - and with _: leave one out")
    return dict(zip(names, values.values(), strict=True))
