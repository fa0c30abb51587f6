import math

import pytest

from lehr.report import table
from lehr.report.plots import accuracy_plot, learning_curves
from lehr.report.summary import Cell, Row, summarise


def cell(label: str, lr: float, seed: int, accuracy: float, sparsity: float = 0.9, **result) -> Cell:
    scores = {"accuracy": accuracy, "nll": 1 - accuracy, "count": 10}
    values = result or {"validation": scores, "test": {**scores, "accuracy": accuracy - 0.1}, "nonzeros": 7}
    metrics = [{"validation_accuracy": accuracy, "expected_density": 0.5}] * 2
    return Cell(label, sparsity, lr, seed, "p", values, metrics, 2.0)


def test_mean_and_spread_by_hand():
    (row,) = summarise([cell("a", 0.1, 0, 0.8), cell("a", 0.1, 1, 0.9)])
    assert (row.n, row.lr, row.nonzeros, row.seconds) == (2, 0.1, 7, 2.0)
    assert row.accuracy == pytest.approx(75.0)
    assert row.accuracy_sd == pytest.approx(math.sqrt(50))
    assert row.validation_accuracy == pytest.approx(85.0)


def test_validation_chooses_the_rate_on_common_seeds():
    cells = [
        cell("a", 0.1, 0, 0.80),
        cell("a", 0.1, 1, 0.20),  # only the chosen rate has the second seed
        cell("a", 0.01, 0, 0.70),
    ]
    (row,) = summarise(cells)
    assert (row.lr, row.n) == (0.1, 2)


def test_ties_go_to_the_lower_rate_and_divergence_is_out():
    assert summarise([cell("a", 0.1, 0, 0.8), cell("a", 0.01, 0, 0.8)])[0].lr == 0.01
    assert (
        summarise([cell("a", 0.1, 0, 0.9), cell("a", 0.1, 1, 0, failed="nan"), cell("a", 0.01, 0, 0.5)])[0].lr == 0.01
    )
    assert summarise([cell("a", 0.1, 0, 0, failed="nan")]) == []


def test_rows_come_by_sparsity_and_survive_json():
    rows = summarise([cell("b", 0.1, 0, 0.8, 0.98), cell("a", 0.1, 0, 0.8), cell("dense", 0.1, 0, 0.9, 0.0)])
    assert [r.label for r in rows] == ["dense", "a", "b"]
    back = Row.from_dict(rows[0].as_dict())
    assert math.isnan(back.accuracy_sd)
    assert back.label == "dense"


def test_markdown():
    rows = summarise([cell("dense", 0.1, 0, 0.9, 0.0), cell("a", 0.1, 0, 0.8), cell("b", 0.1, 0, 0.7)])
    lines = table.markdown_table(rows).splitlines()
    assert lines[0].startswith("| sparsity | method | accuracy % |")
    assert lines[2] == "| dense | dense | 80.00 | 0.100 | 7 | 0.1 | 1 |"
    assert lines[3] == "| 90 % | a | **70.00** | 0.200 | 7 | 0.1 | 1 |"


def test_plots_show_every_method_and_are_the_same_each_time():
    cells = [cell(name, 0.1, seed, 0.8 + 0.01 * seed) for name in ("one-shot", "gradual") for seed in (0, 1)]
    rows = summarise([*cells, cell("dense", 0.1, 0, 0.9, 0.0)])
    plot = accuracy_plot(rows)
    assert plot.startswith("<svg")
    assert all(name in plot for name in ("one-shot", "gradual", "dense", "test accuracy"))
    assert plot == accuracy_plot(rows)
    assert "epoch" in learning_curves(cells, rows, 0.9)
