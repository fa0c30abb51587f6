"""What a study has found so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lehr.base.errors import LehrError, unknown
from lehr.report.cells import Cell
from lehr.report.html import Page
from lehr.report.rows import Row
from lehr.report.summary import is_variant, summarise
from lehr.report.table import markdown_table
from lehr.report.unscored import unscored
from lehr.study.choice import expected
from lehr.study.definition import Run, Study
from lehr.study.results import Record, cells_of


@dataclass(frozen=True)
class Findings:
    """A study, its runs in order, those that have ended, and the rows that they make."""

    study: Study
    runs: list[Run]
    cells: list[Cell]
    rows: list[Row]
    environment: dict[str, str]

    def page(self, command: str) -> Page:
        """What a report shows of it."""
        return Page(
            self.study.title, self.rows, self.cells, self.study.model_dump(mode="json"), self.environment, command,
            self.study.against, self.study.choose_seeds, len(self.runs), self.failures,
        )  # fmt: skip

    def markdown(self) -> str:
        """The tables for documents, and what has no row in them."""
        missing = [f"- {sentence}\n" for sentence in unscored(self.cells)]
        return markdown_table(self.rows, self.study.against) + ("\n" + "".join(missing) if missing else "")

    def seen(self, *, against: str | None = None, confirming: bool = False) -> Findings:
        """The same, compared with another row, or over the seeds that chose nothing."""
        seeds, against = self.study.choose_seeds, against or self.study.against
        if confirming and seeds is None:
            raise LehrError("every seed of this study chooses, so none confirms: name choose_seeds in its file")
        labels = {cell.label for cell in self.cells}
        if against != self.study.against and not any(is_variant(label, against) for label in labels):
            raise unknown("row", against, labels)
        rows = summarise(self.cells, seeds, against=against, confirming=confirming)
        cells = [cell for cell in self.cells if not (confirming and cell.seed in (seeds or ()))]
        return replace(self, study=self.study.model_copy(update={"against": against}), rows=rows, cells=cells)

    def check_whole(self) -> None:
        """Raise where a run failed, for what needs all of them."""
        if self.failures:
            first, *_ = self.failures
            raise LehrError(
                f"{len(self.failures)} runs failed, the first, {first.label}, because: {first.result['failed']}"
            )

    @property
    def failures(self) -> list[Cell]:
        """The runs without scores."""
        return [cell for cell in self.cells if cell.failed]


def findings_of(study: Study, runs: list[Run], records: Mapping[str, Record], out: Path) -> Findings:
    """What the records of a study's runs, those planned, come to."""
    cells = cells_of(runs, records, out)
    runs = expected(study, runs, cells)
    where = [records[run.name]["environment"] for run in runs if run.name in records]
    if study.alike == "epochs":  # a part of a row's epochs is no row
        runs = [run for run in runs if run.kind == study.kind]
        cells = cells_of(runs, records, out)
    rows = summarise(cells, study.choose_seeds, against=study.against)
    return Findings(study, runs, cells, rows, _common(where))


def _common(environments: list[dict[str, str]]) -> dict[str, str]:
    """Where runs were measured: every value that was met."""
    names = dict.fromkeys(name for one in environments for name in one)
    return {name: ", ".join(sorted({one[name] for one in environments if name in one})) for name in names}
