"""Comparisons in this process, on digits."""

import pytest
import typer

from lehr import LehrError
from lehr.cli.small_study import check_ended
from lehr.report.rows import Row
from lehr.study.compare import comparison, default_folder
from lehr.study.plan import plan
from lehr.study.publish import best_cell
from lehr.study.run import run_study
from lehr.study.ticket import tickets

SMALL = {
    "data": "digits", "model": "lenet_300_100", "sparsity": (0.9,), "seeds": 1, "epochs": 2, "tune_epochs": 1,
    "batch_size": 64,
}  # fmt: skip


def places(rows: list[Row]) -> list[tuple[str, float, int]]:
    return [(row.label, row.lr, row.n) for row in rows]


def test_a_rate_that_diverges_is_recorded_and_the_rest_goes_on(tmp_path):
    found = run_study(comparison(["one-shot"], **SMALL, tune_lr=(0.05, 1e8)), tmp_path)
    assert places(found.rows) == [("dense parent", 0.1, 1), ("dense, tuned on", 0.05, 1), ("one-shot", 0.05, 1)]
    assert {cell.lr for cell in found.failures} == {1e8}
    assert "the loss became" in found.failures[0].result["failed"]
    check_ended(found)
    assert run_study(comparison(["one-shot"], **SMALL, tune_lr=(0.05, 1e8)), tmp_path).rows == found.rows


def test_when_every_rate_diverges_the_row_is_missing_and_the_reason_is_there(tmp_path):
    found = run_study(comparison(["one-shot"], **SMALL, tune_lr=(1e8,)), tmp_path)
    assert places(found.rows) == [("dense parent", 0.1, 1)]
    assert {cell.label for cell in found.failures} == {"one-shot", "dense, tuned on"}
    with pytest.raises(typer.Exit) as left:
        check_ended(found)
    assert left.value.exit_code == 1


def test_more_can_be_asked_of_a_comparison_later(tmp_path):
    first = run_study(comparison(["one-shot"], **SMALL), tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("result.json")}
    more = run_study(comparison(["one-shot"], **{**SMALL, "sparsity": (0.9, 0.5)}), tmp_path)
    assert {p for p in stamps if p.stat().st_mtime_ns == stamps[p]} == set(stamps), "nothing is trained twice"
    assert [row for row in more.rows if row.sparsity in (0.0, 0.9)] == first.rows


def test_every_row_has_the_same_budget_and_parent(tmp_path):
    methods = ("one-shot", "gradual", "temperature-annealing:target=moving:tau=1.0")
    found = run_study(comparison(methods, **SMALL), tmp_path)
    tuned = [cell for cell in found.cells if cell.label != "dense parent"]
    assert {cell.metrics[-1]["step"] for cell in tuned} == {19}
    assert {row.label for row in found.rows if row.sparsity} == set(methods)
    assert {row.nonzeros for row in found.rows if row.sparsity} == {found.rows[-1].nonzeros}
    best = best_cell(found.rows, found.cells)
    assert best is not None
    assert best.sparsity == 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["one-shot", "one-shot"]}, "methods lists a value twice"),
        ({"sparsity": (0.5, 0.5)}, "sparsity lists a value twice"),
        ({"seeds": 0}, "seeds is 0: give at least 1"),
        ({"lr_seeds": 0}, "lr-seeds is 0"),
    ],
)
def test_what_makes_no_comparison_is_refused(changes, message):
    with pytest.raises(LehrError, match=message):
        comparison(**{**SMALL, "methods": ["one-shot"], **changes})


def test_a_comparison_has_its_own_folder(tmp_path):
    one, same = (comparison(["one-shot"], **SMALL) for _ in range(2))
    assert default_folder(one) == default_folder(same) != default_folder(comparison(["gradual"], **SMALL))
    assert default_folder(one).name.startswith("lenet-300-100-on-digits-")
    threads = [default_folder(comparison(["one-shot"], **SMALL, threads=n)) for n in (1, 2)]
    assert threads[0] == threads[1]


def test_more_levels_go_into_the_same_folder():
    values = {**SMALL, "branches": ["shuffle"]}
    assert default_folder(tickets(rounds=2, **values)) == default_folder(tickets(rounds=3, **values))
    assert default_folder(tickets(rounds=2, **values)) != default_folder(tickets(rounds=2, rewind="5it", **values))


def test_several_modules_are_one_setting_and_no_axis():
    study = comparison(["one-shot"], **SMALL, target_modules=[("layers.1", "layers.3")])
    assert study.grids[0]["target_modules"] == [("layers.1", "layers.3")]
    runs = [run for run in plan(study) if run.label == "one-shot"]
    assert [run.settings.target_modules for run in runs] == [("layers.1", "layers.3")]
