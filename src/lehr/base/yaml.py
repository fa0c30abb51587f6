"""YAML that is data only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lehr.base.errors import LehrError, one_line


def read_yaml(path: Path, what: str) -> Any:
    """Read YAML that is data only, or say in one sentence why not.

    Args:
        path: of the file.
        what: it is, for the sentence: ``"study"``.
    """
    if not path.is_file():
        raise LehrError(f"there is no {what} {path}: give the path of a YAML file")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a safe loader
    except (yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise LehrError(f"{path} is not YAML ({one_line(error)}): correct it") from None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """One that does not let a second value of a name replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        own = [key.value for key, _ in node.value if key.tag == "tag:yaml.org,2002:str"]
        twice = next((name for name in own if own.count(name) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"{twice} is given twice")
        result: dict[Any, Any] = super().construct_mapping(node, deep)
        return result
