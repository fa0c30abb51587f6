"""Tickets as a study: levels in a row, branches at each, more of them later, stopped anywhere."""

from __future__ import annotations

import shutil

import pytest

from lehr import LehrError, Mask
from lehr.runs import RunFolder
from lehr.study.file import study_of
from lehr.study.plan import plan
from lehr.study.run import run_study
from lehr.study.ticket import tickets
from tests.study.small import bits, stopped_often

SMALL_FILE = {"kind": "ticket", "data": "digits", "model": "lenet_300_100", "epochs": 2, "batch_size": 64, "rate": 0.5}
SMALL = {
    "data": "digits", "model": "lenet_300_100", "epochs": 2, "batch_size": 64, "rate": 0.5, "rewind": "5it", "threads": 1,
}  # fmt: skip


def test_levels_start_from_each_other_and_branches_from_the_ticket_before():
    runs = plan(tickets(**SMALL, rounds=3, branches=["shuffle", "reinit", "order"]))
    by_name = {run.name: run for run in runs}
    assert sum(run.kind == "train" for run in runs) == 1, "one dense network"
    assert sum(run.kind == "ticket" for run in runs) == 3 + 3 * 3
    for run in runs:
        if run.kind != "ticket":
            continue
        parent = by_name[run.parent]
        if run.settings.level == 1:
            assert parent.kind == "train"
        else:
            assert (parent.label, parent.settings.level) == ("ticket", run.settings.level - 1)
        assert run.sparsity == pytest.approx(1 - 0.5**run.settings.level)
    assert {run.settings.order for run in runs if run.kind == "train"} == {None}


def test_the_dense_run_keeps_the_steps_that_are_gone_back_to():
    runs = plan(tickets(**SMALL, rounds=2, branches=["rewind:0", "rewind:9it", "reinit"]))
    assert {run.settings.keep for run in runs if run.kind == "train"} == {("0", "5it", "9it")}
    rate = plan(tickets(**SMALL, rounds=2, mode="rate"))
    assert {run.settings.keep for run in rate if run.kind == "train"} == {()}
    assert {run.name for run in rate if run.kind == "train"} == {run.name for run in runs if run.kind == "train"}


def test_folders_tell_what_a_branch_is():
    branches = ["shuffle", "reinit", "order", "anneal", "rewind:9it"]
    runs = plan(tickets(**SMALL, rounds=1, branches=branches))
    found = {run.label: run.folder.partition("-seed")[0] for run in runs if run.kind == "ticket"}
    assert found == {
        "ticket": "level-1-from-5it", "shuffle": "level-1-from-5it-shuffle", "reinit": "level-1-from-5it-reinit",
        "order": "level-1-from-5it-order", "anneal": "level-1-from-5it-rate-temperature-annealing", "rewind:9it": "level-1-from-9it",
    }  # fmt: skip


def test_what_each_control_changes():
    runs = plan(tickets(**SMALL, rounds=1, branches=["shuffle", "invert", "reinit", "order", "shuffle-order"]))
    found = {
        run.label: (run.settings.control, run.settings.reinit, run.settings.order)
        for run in runs
        if run.kind == "ticket"
    }
    assert found == {
        "ticket": ("none", None, None), "shuffle": ("shuffle", None, None), "invert": ("invert", None, None),
        "reinit": ("none", 1000, None), "order": ("none", None, 1000), "shuffle-order": ("shuffle", None, 1000),
    }  # fmt: skip


def test_what_is_drawn_anew_differs_from_seed_to_seed():
    runs = plan(tickets(**SMALL, rounds=2, branches=["reinit", "order"], seeds=3))
    for label, name in (("reinit", "reinit"), ("order", "order")):
        assert {(run.seed, getattr(run.settings, name)) for run in runs if run.label == label} == {
            (0, 1000),
            (1, 1001),
            (2, 1002),
        }


def test_one_more_level_where_only_the_results_are_left_does_what_it_needs_again(tmp_path):
    run_study(tickets(**SMALL, rounds=2), tmp_path)
    shutil.rmtree(tmp_path / "runs")
    found = run_study(tickets(**SMALL, rounds=3), tmp_path)
    assert [round(row.sparsity, 3) for row in found.rows] == [0.0, 0.5, 0.75, 0.875]


def test_one_more_level_where_weights_were_not_kept_does_what_it_needs_again(tmp_path):
    values = {**SMALL_FILE, "keep_weights": False, "start": "5it"}
    run_study(study_of({**values, "level": 1}, "t"), tmp_path)
    assert not list(tmp_path.glob("runs/level-1-*/model.safetensors"))
    found = run_study(study_of({**values, "level": 2}, "t"), tmp_path)
    assert not found.failures
    assert [round(row.sparsity, 3) for row in found.rows] == [0.0, 0.5, 0.75]


def test_the_levels_of_a_named_row_are_of_the_ticket_before_it(tmp_path):
    runs = plan(
        study_of(
            {**SMALL_FILE, "grids": [{"row": "mine", "level": 2, "control": "shuffle"}, {"row": "ticket", "level": 2}]},
            "t",
        )
    )
    assert {(run.settings.level, run.settings.control): run.label for run in runs if run.kind == "ticket"} == {
        (1, "none"): "ticket", (2, "shuffle"): "mine", (2, "none"): "ticket",
    }  # fmt: skip


def test_tickets_are_not_counted_in_epochs():
    with pytest.raises(LehrError, match="alike is epochs, and every level of a ticket trains again"):
        plan(study_of({**SMALL_FILE, "level": 2, "alike": "epochs"}, "t"))
    with pytest.raises(LehrError, match="learn_mask is given, and a ticket begins with a plain dense run"):
        run_study(study_of({**SMALL_FILE, "level": 1, "learn_mask": 1.0}, "t"), "nowhere")


def test_fine_tuning_has_a_hundredth_of_the_rate_and_the_dense_network_its_own():
    runs = plan(tickets(**SMALL, rounds=1, mode="fine-tune", lr=0.2))
    assert [(run.settings.lr, run.settings.schedule) for run in runs] == [(0.2, "one-cycle"), (0.002, "constant")]
    assert runs[1].settings.rewind == "no"


def test_more_levels_later_train_nothing_twice(tmp_path):
    first = run_study(tickets(**SMALL, rounds=1), tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("result.json")}
    more = run_study(tickets(**SMALL, rounds=3, branches=["shuffle"]), tmp_path)
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items())
    assert next(row for row in more.rows if row.label == "ticket").accuracy == first.rows[-1].accuracy
    assert [(row.label, round(row.sparsity, 3)) for row in more.rows if row.sparsity] == [
        ("ticket", 0.5), ("shuffle", 0.5), ("ticket", 0.75), ("shuffle", 0.75), ("ticket", 0.875), ("shuffle", 0.875),
    ]  # fmt: skip


def test_stopped_anywhere_it_goes_on_to_the_same_bits(tmp_path):
    study = tickets(**SMALL, rounds=2, branches=["reinit"])
    run_study(study, tmp_path / "whole")
    assert stopped_often(study, tmp_path / "cut", every=11) > 8
    assert bits(tmp_path / "cut") == bits(tmp_path / "whole")


def test_stopped_on_the_way_to_step_k_it_goes_on_to_the_same_bits(tmp_path):
    """Of a dense run that kept nothing the way is trained, and may be stopped too."""
    study, dense = tickets(**SMALL, rounds=1), tickets(**SMALL, rounds=1, mode="rate")
    run_study(study, tmp_path / "whole")
    run_study(dense, tmp_path / "cut")
    for kept in (tmp_path / "cut").glob("runs/*/at-*"):
        kept.unlink()
    assert stopped_often(study, tmp_path / "cut", every=3) > 8
    mine = {name: value for name, value in bits(tmp_path / "cut").items() if "-rate-" not in name}
    assert mine == bits(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": 0}, "rounds is 0"), ({"mode": "weight"}, "there is no mode 'weight': did you mean 'weights'"),
        ({"branches": ["shufle"]}, "there is no branch 'shufle': did you mean 'shuffle'"),
        ({"branches": ["reinit"], "mode": "rate"}, "reinit takes other weights and mode rate keeps those of training"),
        ({"seeds": 0}, "seeds is 0"), ({"branches": ["order", "order"]}, "name each once"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_one_sentence(change, message):
    with pytest.raises(LehrError, match=message):
        tickets(**{**SMALL, "rounds": 2, **change})


def test_a_branch_may_differ_from_the_levels_before_it():
    runs = plan(tickets(**SMALL, rounds=3, branches=["anneal", "rewind:0"]))
    by_name = {run.name: run for run in runs}
    assert sum(run.kind == "ticket" for run in runs) == 3 + 3 + 3, "the levels before a branch are those of the ticket"
    for run in runs:
        if run.label not in ("anneal", "rewind:0"):
            continue
        before = by_name[run.parent]
        assert before.kind == "train" or (before.label, before.settings.start, before.settings.method) == (
            "ticket",
            "5it",
            "one-shot",
        )
        method, rewind, start = (
            ("temperature-annealing", "rate", "5it") if run.label == "anneal" else ("one-shot", "weights", "0")
        )
        assert (run.settings.method, run.settings.rewind, run.settings.start) == (method, rewind, start)


def test_the_levels_before_a_branch_are_of_the_mode_that_is_asked_for():
    runs = plan(tickets(**SMALL, rounds=2, mode="rate", branches=["anneal"]))
    assert sum(run.kind == "ticket" for run in runs) == 2 + 2
    (last,) = (run for run in runs if run.label == "anneal" and run.settings.level == 2)
    before = next(run for run in runs if run.name == last.parent)
    assert (before.label, before.settings.method, before.settings.rewind) == ("ticket", "one-shot", "rate")


def test_annealed_branches_run_and_end_in_the_mask_of_their_level(tmp_path):
    found = run_study(tickets(**SMALL, rounds=2, branches=["anneal"]), tmp_path)
    masks = {
        (cell.label, round(cell.sparsity, 2)): Mask.load(RunFolder(cell.path).mask)
        for cell in found.cells
        if cell.sparsity
    }
    assert masks["anneal", 0.75] == masks["ticket", 0.75]
    assert masks["anneal", 0.5] == masks["ticket", 0.5]


@pytest.mark.parametrize("after", [3, {"start": ["0", "1it"]}])
def test_what_differs_before_is_a_mapping_of_single_values(after):
    with pytest.raises(LehrError, match="after is .*: map settings of the runs before to one value each"):
        plan(study_of({**SMALL_FILE, "grids": [{"level": 2, "after": after}]}, "t"))


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        ("rewind:x", "the length 'x' is not understood"),
        ("rewind:", "is not understood"),
        ("rewind:5it", "rewind:5it is where the levels go back to anyway"),
    ],
)
def test_a_branch_to_no_other_step_is_refused(branch, message):
    with pytest.raises(LehrError, match=message):
        tickets(**SMALL, rounds=1, branches=[branch])
