"""What a table has no row for is told, with the reason."""

from lehr.report.cells import Cell
from lehr.report.unscored import unscored

EMPTY, DIVERGED = {"failed": "a layer is empty"}, {"failed": "the loss became nan"}
GOOD = {"test": {"accuracy": 0.9, "nll": 0.3}, "validation": {"accuracy": 0.9}}


def cell(label: str, seed: int, result: dict, sparsity: float = 0.99, panel: str = "") -> Cell:
    return Cell(label, sparsity, 0.1, seed, "", result, [], 1.0, panel=panel)


def test_rows_of_which_every_run_failed_are_told_with_the_most_common_reason():
    cells = [cell("snip", 0, EMPTY), cell("snip", 1, DIVERGED), cell("snip", 2, EMPTY), cell("random", 0, GOOD)]
    assert unscored(cells) == ["snip at 99 % has no row, its 3 runs failed: a layer is empty"]


def test_one_run_with_a_score_is_a_row():
    assert unscored([cell("snip", 0, EMPTY), cell("snip", 1, GOOD)]) == []


def test_sparsities_and_panels_are_apart_and_a_dense_network_has_no_sparsity():
    cells = [
        cell("a:tau=1", 0, EMPTY, panel="x"), cell("a:tau=1", 0, GOOD, panel="y"), cell("a:tau=1", 0, GOOD, 0.9, "x"), cell("dense", 0, DIVERGED, 0.0),
    ]  # fmt: skip
    assert unscored(cells) == [
        "a, tau=1 at 99 % (x) has no row, its run failed: a layer is empty",
        "dense has no row, its run failed: the loss became nan",
    ]
