"""The progress bar of one or several runs, on the terminal's error stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """Advance and describe one line of progress; does nothing where there is no display."""

    def __init__(self, progress: Progress | None = None, task: int = 0) -> None:
        self._progress, self._task = progress, task

    def update(self, completed: int, note: str = "") -> None:
        """Show how many units are done and a short note."""
        if self._progress is not None:
            self._progress.update(self._task, completed=completed, note=note)  # type: ignore[arg-type]


SILENT = Bar()


@contextmanager
def bar(description: str, total: int, *, show: bool) -> Iterator[Bar]:
    """A progress bar while the block runs.

    >>> with bar("training", 10, show=False) as line:
    ...     line.update(1)
    """
    if not show:
        yield SILENT
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress, progress.add_task(description, total=total, note=""))
