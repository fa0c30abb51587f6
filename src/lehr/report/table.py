"""A study as a table: on the terminal, in Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Literal

from rich.table import Table
from rich.text import Text

from lehr.report.rows import Row


def headings(rows: Sequence[Row], against: str = "one-shot") -> tuple[str, ...]:
    """What the columns are called; language models have bits per character where others have NLL.

    Rows that are compared have a column for it, and rows at a choice of more than the rate one for that.

    >>> headings([])
    ('sparsity', 'method', 'accuracy %', 'NLL', 'nonzeros', 'lr', 'seeds')
    """
    nll = "bits/char" if any(row.language for row in rows) else "NLL"
    versus = (f"vs {against} [95 % CI]",) if compared(rows) else ()
    choice = ("chosen",) if any(row.choice for row in rows) else ()
    return ("sparsity", "method", "accuracy %", nll, *versus, "nonzeros", "lr", *choice, "seeds")


def compared(rows: Sequence[Row]) -> bool:
    """Whether any row has a difference from one of reference."""
    return any(not math.isnan(row.difference) for row in rows)


def with_spread(mean: float, sd: float, digits: int) -> str:
    """``mean ± sd``, or the mean alone where there is one value.

    >>> with_spread(98.123, 0.456, 2), with_spread(1.0, math.nan, 1)
    ('98.12 ± 0.46', '1.0')
    """
    return f"{mean:.{digits}f}" if math.isnan(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def versus(row: Row) -> str:
    """The difference from the row of reference, with its confidence interval.

    >>> from dataclasses import replace
    >>> row = Row("gradual", 0.9, 0.1, 3, 80.0, 0.3, 0.5, 0.0, 80.0, 10, 1.0)
    >>> versus(row), versus(replace(row, difference=1.25, low=0.5, high=2.0))
    ('', '+1.25 [+0.50, +2.00]')
    """
    digits = 3 if row.language else 2
    if math.isnan(row.difference):
        return ""
    if math.isnan(row.low):
        return f"{row.difference:+.{digits}f}"
    return f"{row.difference:+.{digits}f} [{row.low:+.{digits}f}, {row.high:+.{digits}f}]"


def method(row: Row) -> str:
    """The label for reading: commas between a method and its options."""
    return row.label.replace(":", ", ")


def cells(row: Row, columns: Sequence[str]) -> tuple[str, ...]:
    """The texts of one row, in the order of `headings`."""
    texts = {
        "sparsity": f"{100 * row.sparsity:.4g} %" if row.sparsity else "dense",
        "method": method(row),
        "accuracy %": with_spread(row.accuracy, row.accuracy_sd, 2),
        "NLL": with_spread(row.nll, row.nll_sd, 3),
        "bits/char": with_spread(row.bits, row.bits_sd, 3),
        "nonzeros": f"{row.nonzeros:,}",
        "lr": f"{row.lr:g}",
        "chosen": row.choice,
        "seeds": f"{row.n}" + (f" ({row.failed} failed)" if row.failed else ""),
    }
    return tuple(texts.get(column, versus(row)) for column in columns)


def best(rows: Sequence[Row]) -> set[int]:
    """The indices of the best row of each panel at each sparsity: the most accurate, or of the fewest bits."""
    result: dict[tuple[str, float], int] = {}
    for i, row in enumerate(rows):
        place = (row.panel, row.sparsity)
        if place not in result or row.quality > rows[result[place]].quality:
            result[place] = i
    return {i for i in result.values() if rows[i].sparsity}


def panels(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each panel, in order."""
    result: dict[str, list[Row]] = {}
    for row in rows:
        result.setdefault(row.panel, []).append(row)
    return result


def terminal_table(rows: Sequence[Row], title: str, against: str = "one-shot", width: int = 110) -> Table:
    """For Rich; the best accuracy at each sparsity is bold. On a narrow screen the least important columns go."""
    table = Table(title=Text(title), title_justify="left", header_style="bold")
    columns = _fitting(rows, headings(rows, against), width)
    for heading in columns:
        # Only the method's name may wrap where the screen is narrow; numbers stay whole.
        justify: Literal["left", "right"] = "left" if heading in ("sparsity", "method") else "right"
        table.add_column(heading, justify=justify, no_wrap=heading != "method", overflow="fold")
    winners = best(rows)
    for i, row in enumerate(rows):
        if i and row.sparsity != rows[i - 1].sparsity:
            table.add_section()
        table.add_row(*map(Text, cells(row, columns)), style="bold" if i in winners else "")
    return table


def _fitting(rows: Sequence[Row], columns: tuple[str, ...], width: int) -> tuple[str, ...]:
    """The columns that there is room for, each with a line and a space on either side."""
    for least in ("nonzeros", "NLL", "lr"):
        texts = [columns, *(cells(row, columns) for row in rows)]
        if sum(max(map(len, column)) + 3 for column in zip(*texts, strict=True)) < width:
            break
        columns = tuple(name for name in columns if name != least)
    return columns


def markdown_table(rows: Sequence[Row], against: str = "one-shot") -> str:
    """For documents; a table for each panel, under its name."""
    parts = []
    for panel, own in panels(rows).items():
        winners, names = best(own), headings(own, against)
        lines = ["| " + " | ".join(names) + " |", "|---|---|" + "---:|" * (len(names) - 2)]
        for i, row in enumerate(own):
            texts = [
                f"**{t}**" if i in winners and name == _judged(row) else t
                for name, t in zip(names, cells(row, names), strict=True)
            ]
            lines.append("| " + " | ".join(texts) + " |")
        parts.append((f"**{panel}**\n\n" if panel else "") + "\n".join(lines) + "\n")
    return "\n".join(parts)


def latex_table(rows: Sequence[Row], against: str = "one-shot") -> str:
    """For papers, with booktabs; a tabular for each panel."""
    parts = []
    for panel, own in panels(rows).items():
        winners, names = best(own), headings(own, against)
        lines = [f"% {panel}"] if panel else []
        lines += [rf"\begin{{tabular}}{{ll{'r' * (len(names) - 2)}}}", r"\toprule"]
        lines += [" & ".join(map(_escaped, names)) + r" \\", r"\midrule"]
        for i, row in enumerate(own):
            if i and row.sparsity != own[i - 1].sparsity:
                lines.append(r"\midrule")
            texts = [_escaped(t).replace("±", r"$\pm$") for t in cells(row, names)]
            if i in winners:
                texts[names.index(_judged(row))] = rf"\textbf{{{texts[names.index(_judged(row))]}}}"
            lines.append(" & ".join(texts) + r" \\")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n")
    return "\n".join(parts)


def csv_table(rows: Sequence[Row]) -> str:
    """For machines: every number of every row."""
    text = io.StringIO()
    values = [row.as_dict() for row in rows]
    writer = csv.DictWriter(text, list(values[0]) if values else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(values)
    return text.getvalue()


def _judged(row: Row) -> str:
    return "bits/char" if row.language else "accuracy %"


def _escaped(text: str) -> str:
    for character in "&%$#_":
        text = text.replace(character, "\\" + character)
    return text
