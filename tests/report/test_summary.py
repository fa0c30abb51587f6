import math
from dataclasses import replace

import pytest

from lehr.report import table
from lehr.report.cells import Cell
from lehr.report.curves import learning_curves
from lehr.report.plots import accuracy_plot, density_plot
from lehr.report.ranks import overall_ranks
from lehr.report.summary import summarise


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
    assert rows[0].as_dict()["accuracy_sd"] is None, "JSON has no NaN"


def test_families_count_each_and_siblings_do_not():
    scores = {(0, 0): 0.5, (0, 1): 0.6, (7, 0): 0.7, (7, 1): 0.8}
    cells = [replace(cell("a", 0.1, 0, value), replicate=r, member=m) for (r, m), value in scores.items()]
    (row,) = summarise(cells)
    assert (row.n, row.accuracy) == (2, pytest.approx(55.0))
    assert row.accuracy_sd == pytest.approx(math.sqrt(200)), "of 45 and 65"


def test_markdown():
    rows = summarise([cell("dense", 0.1, 0, 0.9, 0.0), cell("a", 0.1, 0, 0.8), cell("b", 0.1, 0, 0.7)])
    lines = table.markdown_table(rows).splitlines()
    assert lines[0].startswith("| sparsity | method | accuracy % |")
    assert lines[2] == "| dense | dense | 80.00 | 0.100 | 7 | 0.1 | 1 |"
    assert lines[3] == "| 90 % | a | **70.00** | 0.200 | 7 | 0.1 | 1 |"


def test_differences_are_paired_by_seed_and_ranks_are_means():
    cells = [cell("one-shot", 0.1, s, a) for s, a in enumerate((0.80, 0.70, 0.60))]
    cells += [cell("b", 0.1, s, a) for s, a in enumerate((0.82, 0.71, 0.63))]
    cells += [cell("c", 0.1, s, a) for s, a in enumerate((0.81, 0.72, 0.5))]
    one, b, c = summarise(cells)
    assert math.isnan(one.difference)
    assert b.difference == pytest.approx(2.0)  # of 2, 1, 3
    half = 4.302653 * 1 / math.sqrt(3)
    assert (b.low, b.high) == pytest.approx((2 - half, 2 + half))
    assert [row.rank for row in (one, b, c)] == pytest.approx([(3 + 3 + 2) / 3, (1 + 2 + 1) / 3, (2 + 1 + 3) / 3])
    assert overall_ranks(cells, [one, b, c])[""] == pytest.approx({"b": 4 / 3, "c": 2, "one-shot": 8 / 3})


def test_confirming_counts_only_seeds_that_chose_nothing():
    cells = [cell("a", lr, 0, a) for lr, a in ((0.1, 0.8), (0.2, 0.7))] + [cell("a", 0.1, s, 0.6) for s in (1, 2)]
    assert [row.n for row in summarise(cells, [0])] == [3]
    (row,) = summarise(cells, [0], confirming=True)
    assert (row.n, row.lr, row.accuracy) == (2, 0.1, pytest.approx(50.0))


def test_a_choice_is_made_on_the_seeds_that_choose():
    cells = [cell("a", lr, s, a) for s, lr, a in ((0, 0.1, 0.8), (0, 0.2, 0.7), (1, 0.1, 0.1), (1, 0.2, 0.9))]
    assert summarise(cells)[0].lr == 0.2
    assert summarise(cells, [0])[0].lr == 0.1


def test_seeds_that_confirm_choose_nothing_even_when_they_fail():
    cells = [cell("a", 0.1, 0, 0.8)] + [cell("a", 0.2, s, 0.9) for s in (0, 1, 2)]
    cells.append(cell("a", 0.2, 3, 0, failed="nan"))
    (row,) = summarise(cells, [0])
    assert (row.lr, row.n, row.failed) == (0.2, 3, 1)
    (row,) = summarise(cells, [0], confirming=True)
    assert (row.lr, row.n, row.failed) == (0.2, 2, 1)


def test_children_of_one_parent_count_once():
    cells = [replace(cell("one-shot", 0.1, s, 0.5 + 0.1 * r), replicate=r) for s in (0, 1) for r in (0, 1)]
    cells += [replace(cell("b", 0.1, s, 0.6 + 0.1 * r + 0.02 * s), replicate=r) for s in (0, 1) for r in (0, 1)]
    _, b = summarise(cells)
    assert b.difference == pytest.approx(11.0)  # of 10 and 12
    assert b.high - b.difference == pytest.approx(12.7062047 * math.sqrt(2) / math.sqrt(2))


def test_rows_are_compared_on_the_same_terms():
    cells = [replace(cell(name, 0.1, 0, a), terms=terms)
             for name, a, terms in (("one-shot", 0.5, "x"), ("one-shot:epochs=9", 0.7, "y"), ("b:epochs=9", 0.8, "y"))]  # fmt: skip
    assert [row.difference for row in summarise(cells)][2] == pytest.approx(10.0)
    cells[1] = replace(cells[1], terms="z")
    assert math.isnan(summarise(cells)[2].difference)


def test_where_some_seeds_failed_at_every_choice_the_others_are_shown_and_the_failures_counted():
    cells = [cell("a", 0.1, 0, 0.8), cell("a", 0.1, 1, 0, failed="empty"), cell("a", 0.2, 0, 0, failed="nan")]
    (row,) = summarise(cells)
    assert (row.lr, row.n, row.failed) == (0.1, 1, 1)
    assert "| 1 (1 failed) |" in table.markdown_table([row])


def test_latex_and_csv():
    rows = summarise([cell("a_b", 0.1, s, 0.8 + 0.1 * s) for s in (0, 1)])
    latex = table.latex_table(rows)
    assert r"\textbf{75.00 $\pm$ 7.07}" in latex
    assert r"a\_b" in latex
    assert latex.count("&") == 6 * 2
    header, line = table.csv_table(rows).splitlines()
    assert dict(zip(header.split(","), line.split(","), strict=True))["accuracy"].startswith("75.")


def test_panels_have_tables_of_their_own():
    rows = summarise([replace(cell("a", 0.1, 0, a), panel=panel) for panel, a in (("x", 0.8), ("y", 0.7))])
    text = table.markdown_table(rows)
    assert text.index("**x**") < text.index("**70.00**") < text.index("**y**") < text.index("**60.00**")


def test_a_plot_over_densities_has_accuracy_and_error():
    cells = [cell("one-shot", 0.1, seed, 0.8, sparsity) for seed in (0, 1) for sparsity in (0.9, 0.99)]
    plot = density_plot(summarise([*cells, cell("dense", 0.1, 0, 0.9, 0.0)]))
    assert all(word in plot for word in ("test accuracy, %", "test error, %", "weights left, %", "one-shot"))
    assert plot == density_plot(summarise([*cells, cell("dense", 0.1, 0, 0.9, 0.0)]))


def test_every_dense_row_has_a_line_of_its_own():
    """Which of them is best on the test set must not choose what others are compared with."""
    cells = [cell("one-shot", 0.1, seed, 0.8, sparsity) for seed in (0, 1) for sparsity in (0.9, 0.99)]
    dense = [cell("dense", 0.1, 0, 0.9, 0.0), cell("dense, tuned on", 0.1, 0, 0.85, 0.0)]
    for plot in (accuracy_plot, density_plot):
        drawn = plot(summarise([*cells, *dense]))
        assert ">dense<" in drawn
        assert "dense, tuned on" in drawn


def test_plots_show_every_method_and_are_the_same_each_time():
    cells = [cell(name, 0.1, seed, 0.8 + 0.01 * seed) for name in ("one-shot", "gradual") for seed in (0, 1)]
    rows = summarise([*cells, cell("dense", 0.1, 0, 0.9, 0.0)])
    plot = accuracy_plot(rows)
    assert plot.startswith("<svg")
    assert all(name in plot for name in ("one-shot", "gradual", "dense", "test accuracy"))
    assert plot == accuracy_plot(rows)
    assert "epoch" in learning_curves(cells, [row for row in rows if row.sparsity])
