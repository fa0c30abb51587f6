"""The earliest stable step: bisection over a menu, on barriers that are measured."""

from __future__ import annotations

import json

import pytest

from lehr import LehrError
from lehr.recipes import ticket as ticket_module
from lehr.runs import RunFolder
from lehr.study import rewind
from lehr.study.folder import begin
from lehr.study.rewind import earliest, rewound
from lehr.study.run import run_study
from lehr.study.ticket import tickets

SMALL = {"data": "digits", "model": "lenet_300_100", "epochs": 4, "batch_size": 64, "threads": 1}
STEPS = 4 * 19  # of which the menu is 0, 1, 2, 4, 8 and 15


def told(monkeypatch, stable_from: int) -> list[int]:
    """Barriers by fiat; the steps that are asked for."""
    asked: list[int] = []

    def between(a, b, out, **more):
        steps = [run.settings.start for run in seen[-1].runs if run.kind == "ticket"]
        asked.append(int(steps[0].removesuffix("it")))
        return 0.01 if asked[-1] >= stable_from else 0.3

    def ran(study, out, **more):
        seen.append(run_study(study, out, aside=more["aside"]))
        return seen[-1]

    seen = []
    monkeypatch.setattr(rewind, "run_study", ran)
    monkeypatch.setattr(rewind, "barrier_between", between)
    return asked


@pytest.mark.parametrize(("stable_from", "step"), [(0, "0"), (1, "1it"), (3, "4it"), (15, "15it")])
def test_it_is_the_first_of_the_menu_that_is_stable(tmp_path, monkeypatch, stable_from, step):
    asked = told(monkeypatch, stable_from)
    found, probes = earliest(tmp_path / "out", **SMALL)
    assert found == step
    assert len(asked) == len(set(asked)) <= 3, "bisection"
    assert [probe.barrier < 0.02 for probe in probes] == sorted(probe.barrier < 0.02 for probe in probes)
    assert json.loads((tmp_path / "out" / "rewind.json").read_text())["start"] == step


def test_a_network_that_is_never_stable_is_one_sentence(tmp_path, monkeypatch):
    told(monkeypatch, 99)
    with pytest.raises(
        LehrError, match=r"from step 15 on, a fifth of training, two orders of the data still end 30\.0 points apart"
    ):
        earliest(tmp_path / "out", **SMALL)
    tried = json.loads((tmp_path / "out" / "rewind.json").read_text())
    assert (tried["start"], tried["probes"][-1]) == (None, {"start": "15it", "barrier": 0.3})


def test_no_way_to_a_step_is_trained_twice(tmp_path, monkeypatch):
    told(monkeypatch, 15)
    monkeypatch.setattr(ticket_module, "train", None)  # what trains up to a step that was not kept
    assert earliest(tmp_path / "out", **SMALL)[0] == "15it"


def test_barriers_are_means_over_seeds_of_validation_from_the_same_step_in_two_orders(tmp_path, monkeypatch):
    asked = []

    def between(a, b, out, *, part, **more):
        one, other = (RunFolder(run).settings() for run in (a, b))
        asked.append((type(one).__name__, one.seed, one.start, one.order, other.seed, other.start, other.order, part))
        return 0.0 if one.seed else 0.036

    monkeypatch.setattr(rewind, "barrier_between", between)
    found, probes = earliest(tmp_path / "out", seeds=2, **SMALL)
    assert asked == [
        ("TicketSettings", 0, "2it", None, 0, "2it", 1000, "validation"),
        ("TicketSettings", 1, "2it", None, 1, "2it", 1001, "validation"),
        ("TrainSettings", 0, "0", None, 0, "0", 1000, "validation"),
        ("TrainSettings", 1, "0", None, 1, "0", 1001, "validation"),
    ]
    assert found == "0"
    assert [(probe.start, probe.barrier) for probe in probes] == [("0", 0.018), ("2it", 0.018)]


def test_its_runs_are_those_of_the_study_that_it_is_for(tmp_path):
    step, probes = earliest(tmp_path / "out", seeds=2, **SMALL)
    assert 1 <= len(probes) <= 3
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").glob("dense-*/result.json")}
    run_study(tickets(**SMALL, rewind=step, rounds=1, seeds=2), tmp_path / "out")
    dense = list((tmp_path / "out" / "runs").glob("dense-*"))
    assert len(dense) == 2, "one for each seed, and none trained twice"
    assert {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").glob("dense-*/result.json")
    } == before


def test_while_it_is_sought_the_folder_goes_on_being_what_it_is(tmp_path, monkeypatch):
    run_study(tickets(**SMALL, rewind="8it", rounds=1, seeds=1), tmp_path)
    before = (tmp_path / "study.json").read_bytes()
    told(monkeypatch, 0)
    earliest(tmp_path, **SMALL)
    assert (tmp_path / "study.json").read_bytes() == before


def test_it_is_sought_with_the_threads_that_the_folder_was_begun_with(tmp_path, monkeypatch):
    begin(tickets(**SMALL, rewind="8it", rounds=1, seeds=1), tmp_path)
    told(monkeypatch, 0)
    asked = {"branches": [], "seeds": 1, "mode": "weights", "rounds": 1, **SMALL, "threads": 2}
    assert rewound("auto", tmp_path, **asked, as_before=True).study.grids[0]["threads"] == 1
    assert rewound("auto", tmp_path, **asked).study.grids[0]["threads"] == 2


def test_a_step_that_is_named_is_taken_and_nothing_is_tried(tmp_path, monkeypatch):
    asked = told(monkeypatch, 0)
    plan = rewound("8it", tmp_path, branches=["shuffle"], seeds=1, mode="weights", rounds=1, **SMALL)
    assert (plan.study, plan.out, plan.step) == (
        tickets(**SMALL, rewind="8it", rounds=1, branches=["shuffle"]),
        tmp_path,
        "",
    )
    assert asked == []


def test_a_branch_that_goes_back_to_the_step_that_was_found_is_the_ticket(tmp_path, monkeypatch):
    told(monkeypatch, 3)
    branches = ["rewind:4it", "reinit", "rewind:0"]
    plan = rewound("auto", tmp_path, branches=branches, seeds=1, mode="weights", rounds=2, **SMALL)
    assert (plan.step, plan.same) == ("4it", ("rewind:4it",))
    fraction = f"rewind:{4 / STEPS}"
    told(monkeypatch, 3)
    same = rewound("auto", tmp_path, branches=[fraction], seeds=1, mode="weights", rounds=2, **SMALL).same
    assert same == (fraction,), "one step in another unit"
    assert plan.study == tickets(**SMALL, rewind="4it", rounds=2, branches=["reinit", "rewind:0"])
    assert [probe.barrier for probe in plan.probes] == [0.3, 0.01, 0.01]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"branches": ["shufle"]}, "no branch 'shufle'"),
        ({"branches": ["rewind:soon"]}, "soon"),
        (
            {"branches": ["rewind:0"], "mode": "rate"},
            "rewind:0 takes other weights and mode rate keeps those of training",
        ),
        ({"rounds": 0}, "rounds is 0"),
        ({"branches": ["rewind:9999it"]}, "steps 9999 to 76, and the schedule has 76"),
        ({"branches": ["rewind:76it"]}, "rewinding to 76it leaves no step of the schedule"),
        ({"branches": ["rewind:19it", "rewind:1ep"]}, "19it and 1ep are one step of digits, 19: write it in one way"),
        ({"rounds": 400}, "leaves nothing: lower the level"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_tried(tmp_path, monkeypatch, asked, message):
    tried = told(monkeypatch, 0)
    given = {"branches": [], "seeds": 1, "mode": "weights", "rounds": 1, **SMALL, **asked}
    with pytest.raises(LehrError, match=message):
        rewound("auto", tmp_path, **given)
    assert tried == []
