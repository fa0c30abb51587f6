"""A study, grids of settings, and a run of it, named by the hash of its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lehr.runs import Settings
from lehr.runs.settings import Length
from lehr.study.kinds import kinds


class Study(BaseModel):
    """Grids of runs, and how they are compared.

    Each grid maps settings to values, lists being its axes. For every row of a table, validation
    chooses among the values of the axes `choose`, on the seeds `choose_seeds` (None for all); the other seeds are
    then run at the chosen values only. Rows are compared with those of the method `against`, where they have the same parent
    and the same terms; with ``alike: epochs`` those of the same data, network and batch whose epochs are as many in all, whatever they
    start from: parents are then not rows of their own. A grid with ``row`` has that for a name in the tables; ``after`` in
    a grid has the settings in which the runs before the last one of each chain differ from it. The steps `keep` are those whose weights
    dense runs keep beside those that tickets of the study go back to, for tickets of later ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    kind: str = "tune"
    grids: tuple[dict[str, Any], ...] = Field(min_length=1)
    choose: tuple[str, ...] | None = None  # None is the learning rate of the kind
    choose_seeds: tuple[int, ...] | None = None
    panels: tuple[str, ...] = ("data", "model")  # settings that tell one table from another
    against: str = "one-shot"
    alike: Literal["parents", "epochs"] = "parents"
    keep: tuple[Length, ...] = ()
    keep_weights: bool = True  # of finished runs, but for parents, which are always kept

    @model_validator(mode="before")
    @classmethod
    def _texts(cls, values: Any) -> Any:
        if isinstance(values, dict):
            values = dict(values)
            for name in ("choose", "panels", "keep"):
                if isinstance(values.get(name), str):
                    values[name] = (values[name],)
            if type(values.get("choose_seeds")) is int:
                values["choose_seeds"] = (values["choose_seeds"],)
        return values

    @property
    def choices(self) -> tuple[str, ...]:
        """The axes that validation chooses along."""
        usual = (f"{self.kind}_lr" if kinds[self.kind].parent else "lr",)
        return usual if self.choose is None else self.choose

    @property
    def name(self) -> str:
        """For a folder."""
        words = "".join(c if c.isalnum() else "-" for c in self.title.lower())
        return "-".join(word for word in words.split("-") if word) or "study"


@dataclass(frozen=True)
class Run:
    """One run of a study.

    `name` is the hash of its settings and of those of the run `parent` that it starts from; `panel`,
    `label`, `sparsity` and `choice` say where it is in the tables.
    """

    name: str
    kind: str
    settings: Settings
    parent: str | None
    folder: str
    panel: str = ""
    label: str = ""
    sparsity: float = 0.0
    choice: tuple[tuple[str, Any], ...] = ()
    seed: int = 0
    terms: str = ""  # what two rows must have alike to be compared: everything but method and mask

    def path(self, out: Path) -> Path:
        """Its folder."""
        return out / "runs" / self.folder

    @property
    def member(self) -> int:
        """Which of the members of its ensemble it is; 0 where there is none."""
        name = kinds[self.kind].member
        return 0 if name is None else int(getattr(self.settings, name))

    @property
    def row(self) -> tuple[str, str, float]:
        """The row of a table that it belongs to."""
        return (self.panel, self.label, self.sparsity)

    @property
    def chooser(self) -> tuple[str, str, float]:
        """The rows that are of one choice: cycles that prune are members of one family at any sparsity."""
        chained = kinds[self.kind].member is not None and kinds[self.kind].levels is not None
        return (self.panel, self.label, 0.0) if chained else self.row


def panels_of(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """By name the panels that a run is shown in: its own, or those of the runs of another kind that start from it.

    >>> from lehr.runs import TrainSettings
    >>> dense = Run("a", "train", TrainSettings(data="digits", model="lenet5", epochs=1), None, "")
    >>> panels_of([dense, Run("b", "tune", dense.settings, "a", "", panel="tau=1")])
    {'a': ('tau=1',), 'b': ('tau=1',)}
    """
    by_name = {run.name: run for run in runs}
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        parent = by_name.get(run.parent or "")
        if parent is not None and parent.kind != run.kind:
            found.setdefault(parent.name, {})[run.panel] = None
    return {run.name: tuple(found.get(run.name, {run.panel: None})) for run in runs}
