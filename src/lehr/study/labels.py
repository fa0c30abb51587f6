"""What the rows of a study are called: by what tells them apart, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lehr.recipes.method import DENSE
from lehr.study.kinds import SHARED, Key, Kind, kinds

PARENT, TUNED_DENSE = "dense parent", "dense, tuned on"  # what these rows are called

Flat = Mapping[Key, Any]


def varied(flats: Sequence[Flat]) -> set[Key]:
    """The settings that have several values over the runs.

    >>> varied([{("tune", "tau"): 0.5, ("tune", "lr"): 1}, {("tune", "tau"): 1.0, ("tune", "lr"): 1}])
    {('tune', 'tau')}
    """
    names = {name for flat in flats for name in flat}
    return {name for name in names if len({repr(flat.get(name)) for flat in flats}) > 1}


def row_label(kind: Kind, written: str, flat: Flat, several: set[Key], *, parent: bool = False) -> str:
    """The method as written, and those of the settings with several values that are not at their default.

    Args:
        kind: of the run.
        written: the method as the file has it, with its options; empty where there is none.
        flat: the settings of the run and of those that it starts from.
        several: those that tell the runs of the study apart.
        parent: whether other runs start from this one.
    """
    text = written
    if flat.get((kind.name, "method")) == DENSE:
        text = TUNED_DENSE
    elif parent:
        text = PARENT if kind.name == "train" else kind.name
    named = {pair.partition("=")[0] for pair in written.split(":")[1:]}
    parts = [text] if text else []
    for holder, name in sorted(several, key=lambda key: (key[1], key[0] != kind.name)):
        own = holder == kind.name
        if (own and name in named) or (holder, name) not in flat:
            continue
        value = flat[holder, name]
        twin = next((key for key in several if key[1] == name and key[0] != holder), None)
        if not own and name in SHARED and value == flat.get((kind.name, name)):
            continue  # told as the run's own
        if value != usual(holder, name):
            prefix = f"{kind.name}_" if own and twin is not None and name not in SHARED else ""
            parts.append(told(prefix + name, value))
    return ":".join(parts) or kind.name


def told(name: str, value: Any) -> str:
    """A setting in a label.

    >>> told("tau", 0.50), told("target", "moving")
    ('tau=0.5', 'target=moving')
    """
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


def usual(holder: str, name: str) -> Any:
    """What a setting of a kind of run is where a file has none.

    >>> usual("tune", "anneal"), usual("train", "epochs")
    ('0.5', 20)
    """
    kind = kinds[holder]
    if name in kind.defaults or name not in kind.settings.model_fields:
        return kind.defaults.get(name)
    return kind.settings.model_fields[name].default
