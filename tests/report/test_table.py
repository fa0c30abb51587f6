"""Tables for people: on any screen, and whatever a name looks like."""

import io
import math
from dataclasses import replace

from rich.console import Console

from lehr.report import table
from lehr.report.plots import accuracy_plot
from lehr.report.rows import Row

ROW = Row("one-shot", 0.9, 0.1, 3, 88.0, 0.5, 0.4, 0.01, 88.0, 1234, 1.0)


def printed(rows: list[Row], width: int, title: str = "t") -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table.terminal_table(rows, title, width=width))
    return console.export_text()


def test_a_narrow_screen_loses_the_least_important_columns():
    rows = [ROW, replace(ROW, label="temperature-annealing:target=moving", difference=0.5, low=-0.1, high=1.1)]
    assert "nonzeros" in printed(rows, 140)
    narrow = printed(rows, 82)
    assert "nonzeros" not in narrow
    assert "NLL" not in narrow
    assert "+0.50 [-0.10, +1.10]" in narrow


def test_brackets_in_names_are_no_markup():
    text = printed([replace(ROW, label="a [/b] c")], 140, "plan [draft] [/x]")
    assert "a [/b] c" in text
    assert "plan [draft] [/x]" in text


def test_a_dollar_in_a_name_is_no_formula():
    plot = accuracy_plot([replace(ROW, label=r"target_modules=$\foo$"), replace(ROW, label="b$")])
    assert r"target_modules=$\foo$" in plot


def test_a_missing_interval_and_a_reference_of_another_name():
    text = table.markdown_table([replace(ROW, difference=1.0, low=math.nan, high=math.nan)], "gradual")
    assert "vs gradual [95 % CI]" in text
    assert "| +1.00 |" in text
