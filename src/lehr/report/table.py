"""A comparison as a table: on the terminal, and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from rich.table import Table

from lehr.report.summary import Row


def headings(rows: Sequence[Row]) -> tuple[str, ...]:
    """What the columns are called; language models have bits per character where others have NLL.

    >>> headings([])[3]
    'NLL'
    """
    nll = "bits/char" if any(row.language for row in rows) else "NLL"
    return ("sparsity", "method", "accuracy %", nll, "nonzeros", "lr", "seeds")


def with_spread(mean: float, sd: float, digits: int) -> str:
    """``mean ± sd``, or the mean alone where there is one value.

    >>> with_spread(98.123, 0.456, 2), with_spread(1.0, math.nan, 1)
    ('98.12 ± 0.46', '1.0')
    """
    return f"{mean:.{digits}f}" if math.isnan(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def cells(row: Row) -> tuple[str, ...]:
    """The texts of one row, in the order of `headings`."""
    return (
        f"{100 * row.sparsity:.4g} %" if row.sparsity else "dense",
        row.label,
        with_spread(row.accuracy, row.accuracy_sd, 2),
        with_spread(row.bits, row.bits_sd, 3) if row.language else with_spread(row.nll, row.nll_sd, 3),
        f"{row.nonzeros:,}",
        f"{row.lr:g}",
        str(row.n),
    )


def best(rows: Sequence[Row]) -> set[int]:
    """The indices of the best row at each sparsity: the most accurate, or of the fewest bits."""
    result: dict[float, int] = {}
    for i, row in enumerate(rows):
        if row.sparsity not in result or row.quality > rows[result[row.sparsity]].quality:
            result[row.sparsity] = i
    return {i for i in result.values() if rows[i].sparsity}


def terminal_table(rows: Sequence[Row], title: str) -> Table:
    """For Rich; the best accuracy at each sparsity is bold."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for heading in headings(rows):
        # Only the method's name may wrap where the screen is narrow; numbers stay whole.
        justify: Literal["left", "right"] = "left" if heading in ("sparsity", "method") else "right"
        table.add_column(heading, justify=justify, no_wrap=heading != "method", overflow="fold")
    winners = best(rows)
    for i, row in enumerate(rows):
        if i and row.sparsity != rows[i - 1].sparsity:
            table.add_section()
        table.add_row(*cells(row), style="bold" if i in winners else "")
    return table


def markdown_table(rows: Sequence[Row]) -> str:
    """For documents."""
    winners = best(rows)
    names = headings(rows)
    lines = ["| " + " | ".join(names) + " |", "|---|---|" + "---:|" * (len(names) - 2)]
    for i, row in enumerate(rows):
        texts = [
            f"**{t}**" if i in winners and j == (3 if row.language else 2) else t for j, t in enumerate(cells(row))
        ]
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"
