"""Which runs a study has: what is chosen on some seeds, and run on the others."""

from __future__ import annotations

from lehr.study.run import run_study
from tests.study.small import small, stamps


def test_other_seeds_run_only_at_the_chosen_rate(tmp_path):
    study = small(method=["one-shot", "gradual"], tune_lr=[1e-6, 0.1], seed=[0, 1, 2], choose_seeds=[1], epochs=1)
    found = run_study(study, tmp_path)
    chosen = {(row.label, row.sparsity): row.lr for row in found.rows if row.sparsity}
    for cell in found.cells:
        if cell.sparsity and cell.seed != 1:
            assert cell.lr == chosen[cell.label, cell.sparsity]
    tuned = [cell for cell in found.cells if cell.sparsity]
    assert sorted((cell.label, cell.seed, cell.lr) for cell in tuned if cell.seed == 1) == [
        ("gradual", 1, 1e-6), ("gradual", 1, 0.1), ("one-shot", 1, 1e-6), ("one-shot", 1, 0.1),
    ]  # fmt: skip
    assert len(tuned) == 4 + 2 * 2
    assert len(stamps(tmp_path)) == 3 + len(tuned), "nothing else was trained"
    assert [row.n for row in found.rows] == [3, 3, 3]
    assert [row.n for row in found.seen(confirming=True).rows] == [2, 2, 2]
    best = {
        label: max((c for c in tuned if c.seed == 1 and c.label == label), key=lambda c: c.result["validation"]["accuracy"])
        for label in ("one-shot", "gradual")
    }  # fmt: skip
    assert {label: cell.lr for label, cell in best.items()} == {label: lr for (label, _), lr in chosen.items()}
    before = stamps(tmp_path)
    assert run_study(study, tmp_path).rows == found.rows
    assert stamps(tmp_path) == before


def test_a_rate_that_diverges_on_the_seeds_that_choose_is_not_run_on_others(tmp_path):
    found = run_study(small(tune_lr=[0.05, 1e8], seed=[0, 1], choose_seeds=0), tmp_path)
    assert [(cell.seed, cell.lr, cell.failed) for cell in found.cells if cell.sparsity] == [
        (0, 0.05, False), (0, 1e8, True), (1, 0.05, False),
    ]  # fmt: skip


def test_where_nothing_could_be_chosen_the_other_seeds_are_not_run(tmp_path):
    found = run_study(small(tune_lr=[1e8, 1e9], seed=[0, 1], choose_seeds=0), tmp_path)
    assert [(cell.seed, cell.lr, cell.failed) for cell in found.cells if cell.sparsity] == [
        (0, 1e8, True), (0, 1e9, True),
    ]  # fmt: skip
    assert [row.label for row in found.rows] == ["dense parent"]


def test_settings_other_than_the_rate_can_be_chosen(tmp_path):
    study = small(
        method="temperature-annealing", tau=[0.1, 1.0], choose=["tau", "tune_lr"], tune_lr=[1e-6, 0.1], seed=[0, 1],
        choose_seeds=[0],
    )  # fmt: skip
    found = run_study(study, tmp_path)
    (row,) = [row for row in found.rows if row.sparsity]
    assert row.label == "temperature-annealing"
    assert row.choice in ("tau=0.1", "tau=1.0")
    own = [cell for cell in found.cells if cell.sparsity]
    assert [(cell.choice, cell.lr) for cell in own if cell.seed == 1] == [(row.choice, row.lr)]
    assert len([cell for cell in own if cell.seed == 0]) == 4


def test_each_panel_chooses_for_itself(tmp_path):
    study = small(scope=["global", "layer"], panels="scope", tune_lr=[1e-6, 0.1], seed=[0, 1], choose_seeds=0)
    found = run_study(study, tmp_path)
    for panel in ("scope=global", "scope=layer"):
        (row,) = [row for row in found.rows if row.sparsity and row.panel == panel]
        others = [cell for cell in found.cells if cell.sparsity and cell.seed == 1 and cell.panel == panel]
        assert [cell.lr for cell in others] == [row.lr]
        assert row.n == 2


def test_the_rate_of_the_parents_can_be_chosen(tmp_path):
    found = run_study(small(lr=[1e-6, 0.1], choose=["lr", "tune_lr"]), tmp_path)
    (row,) = [row for row in found.rows if row.sparsity]
    assert row.n == 1
    assert "lr=0.1" in row.choice
