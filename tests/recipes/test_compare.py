"""Comparisons in this process, on digits."""

import pytest

from lehr import LehrError
from lehr.recipes.compare import CompareSettings, compare
from lehr.recipes.publish import best_cell

SMALL = {
    "data": "digits", "model": "lenet_300_100", "sparsities": (0.9,), "methods": ("one-shot",), "seeds": (0,),
    "epochs": 2, "tune_epochs": 1, "batch_size": 64,
}  # fmt: skip


def test_a_rate_that_diverges_is_recorded_and_the_rest_goes_on(tmp_path):
    rows, cells = compare(CompareSettings(**SMALL, tune_lrs=(0.05, 1e8)), tmp_path)
    assert [(row.label, row.lr, row.n) for row in rows] == [
        ("dense, tuned on", 0.05, 1), ("dense parent", 0.1, 1), ("one-shot", 0.05, 1),
    ]  # fmt: skip
    failed = [cell for cell in cells if "failed" in cell.result]
    assert {cell.lr for cell in failed} == {1e8}
    assert "the loss became" in failed[0].result["failed"]
    again, _ = compare(CompareSettings(**SMALL, tune_lrs=(0.05, 1e8)), tmp_path)
    assert again == rows


def test_when_every_rate_diverges_it_says_so(tmp_path):
    with pytest.raises(LehrError, match="diverged at every rate: add a lower --tune-lrs"):
        compare(CompareSettings(**SMALL, tune_lrs=(1e8,)), tmp_path)


def test_more_can_be_asked_of_a_comparison_later(tmp_path):
    first, _ = compare(CompareSettings(**SMALL), tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("result.json")}
    more, _ = compare(CompareSettings(**{**SMALL, "sparsities": (0.9, 0.5)}), tmp_path)
    assert {p for p in stamps if p.stat().st_mtime_ns == stamps[p]} == set(stamps), "nothing is trained twice"
    assert [row for row in more if row.sparsity in (0.0, 0.9)] == first


def test_every_row_has_the_same_budget_and_parent(tmp_path):
    methods = ("one-shot", "gradual", "temperature-annealing:target=moving:tau=1.0")
    rows, cells = compare(CompareSettings(**{**SMALL, "methods": methods}), tmp_path)
    tuned = [cell for cell in cells if cell.label != "dense parent"]
    assert {cell.metrics[-1]["step"] for cell in tuned} == {19}
    assert {row.nonzeros for row in rows if row.sparsity} == {rows[-1].nonzeros}
    best = best_cell(rows, cells)
    assert best is not None
    assert best.sparsity == 0.9
