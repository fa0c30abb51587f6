"""Every run of a study, once, with its name and its place in the tables."""

import random

import pytest

from lehr import LehrError
from lehr.study.definition import Run, panels_of
from lehr.study.file import study_of
from lehr.study.plan import plan
from tests.study.small import small

BASE = {"data": "digits", "model": "lenet_300_100", "sparsity": 0.9}


def runs(**values) -> list[Run]:
    return plan(study_of({**BASE, **values}, "t"))


def tuned(**values) -> list[Run]:
    return [run for run in runs(**values) if run.kind == "tune"]


def parents(**values) -> list[Run]:
    return [run for run in runs(**values) if run.kind == "train"]


def labels(**values) -> list[str]:
    return [run.label for run in tuned(**values)]


# -- names --------------------------------------------------------------------------------------------------


def test_the_same_settings_have_the_same_names_in_any_order():
    values = {
        **BASE,
        "method": ["one-shot", "gradual"],
        "anneal": 0.3,
        "epochs": 3,
        "tune_lr": [0.1, 0.2],
        "seed": [0, 1],
    }
    names = [run.name for run in plan(study_of(values, "t"))]
    assert len(set(names)) == len(names) == 2 + 2 * 2 * 2
    for seed in range(5):
        items = list(values.items())
        random.Random(seed).shuffle(items)
        shuffled = {k: v[::-1] if isinstance(v, list) else v for k, v in items}
        assert {run.name for run in plan(study_of(shuffled, "another title"))} == set(names)


def test_a_default_may_be_written_down():
    usual = [run.name for run in runs()]
    assert [run.name for run in runs(lr=0.1, tune_lr=[0.1], momentum=0.9, threads=1, method="one-shot")] == usual


@pytest.mark.parametrize(
    "other",
    [
        {"sparsity": 0.8}, {"tune_lr": 0.2}, {"tune_epochs": 3}, {"method": "gradual"}, {"scope": "layer"},
        {"tune_seed": 1}, {"average": 0.5}, {"tune_threads": 2}, {"tune_momentum": 0.5},
    ],
)  # fmt: skip
def test_another_setting_of_a_run_gives_it_another_name_and_leaves_its_parent(other):
    (parent, run), (same, changed) = runs(), runs(**other)
    assert same == parent
    assert changed.name != run.name
    assert changed.folder != run.folder


@pytest.mark.parametrize(
    "other", [{"lr": 0.2}, {"epochs": 3}, {"schedule": "cosine"}, {"accumulate": 2}, {"train_seed": 7}]
)
def test_another_setting_of_the_parent_gives_its_children_other_names(other):
    (parent, run), (changed, child) = runs(), runs(**other)
    assert (changed.name == parent.name, child.name == run.name) == (False, False)
    assert child.parent == changed.name
    own = {"parent_digest"}
    assert child.settings.model_dump(exclude=own) == run.settings.model_dump(exclude=own)


def test_a_folder_tells_what_is_in_it_and_ends_with_the_name(tmp_path):
    parent, run = runs(method="gradual", seed=3)
    assert (parent.folder, run.folder) == (f"dense-seed3-{parent.name}", f"gradual-0.9-seed3-{run.name}")
    assert run.path(tmp_path) == tmp_path / "runs" / run.folder


# -- how many -----------------------------------------------------------------------------------------------


def test_a_parent_is_there_once_for_each_seed_however_many_children():
    every = runs(method=["one-shot", "gradual"], sparsity=[0.5, 0.9], tune_lr=[0.1, 0.2, 0.3], seed=[0, 1])
    dense = [run for run in every if run.kind == "train"]
    assert [run.seed for run in dense] == [0, 1]
    assert len(every) == 2 + 2 * 2 * 3 * 2
    children = [run for run in every if run.parent is not None]
    assert {run.parent for run in children} == {run.name for run in dense}
    assert all(run.seed == next(one.seed for one in dense if one.name == run.parent) for run in children)


def test_several_grids_share_parents_and_runs():
    grids = [{"method": "one-shot"}, {"method": ["one-shot", "gradual"]}]
    every = runs(grids=grids, seed=[0, 1])
    assert [(run.kind, run.label) for run in every if run.seed == 0] == [
        ("train", "dense parent"), ("tune", "one-shot"), ("tune", "gradual"),
    ]  # fmt: skip
    assert len(every) == 6


def test_an_axis_that_a_method_has_no_use_for_gives_one_run():
    found = labels(method=["one-shot", "gradual", "temperature-annealing"], tau=[0.2, 0.5, 1.0], anneal=["0.5", "2ep"])
    assert found == [
        "one-shot",
        "gradual", "gradual:anneal=2ep",
        "temperature-annealing:tau=0.2", "temperature-annealing:anneal=2ep:tau=0.2",
        "temperature-annealing", "temperature-annealing:anneal=2ep",
        "temperature-annealing:tau=1", "temperature-annealing:anneal=2ep:tau=1",
    ]  # fmt: skip


def test_the_dense_control_is_one_run_for_each_rate():
    found = tuned(
        method=["dense", "temperature-annealing"], sparsity=[0.5, 0.9], tune_lr=[0.1, 0.2], tau=[0.2, 0.5],
        scope=["global", "layer"], granularity=["unstructured", "filter"], anneal=[0.1, 0.5], inactive=["hold", "move"],
        restart=[False, True], probe=True, score="random", target="moving",
    )  # fmt: skip
    control = [run for run in found if run.settings.method == "dense"]
    assert len(found) == 2 + 2**8
    assert [(run.label, run.sparsity, run.settings.lr) for run in control] == [
        ("dense, tuned on", 0.0, 0.1),
        ("dense, tuned on", 0.0, 0.2),
    ]


def test_a_list_of_tuning_seeds_gives_a_parent_several_children():
    dense, *children = runs(method="gradual", seed=4, tune_seed=[0, 1, 2])
    assert dense.settings.seed == 4
    assert [run.settings.seed for run in children] == [0, 1, 2]
    assert {run.parent for run in children} == {dense.name}
    assert {run.seed for run in children} == {4}, "rows are averaged over them by the seed of the parent"
    assert {run.row for run in children} == {("", "gradual", 0.9)}
    assert len({run.name for run in children}) == 3


def test_without_a_tuning_seed_it_is_the_parents():
    assert [run.settings.seed for run in runs(seed=[4, 5])] == [4, 4, 5, 5]


# -- order --------------------------------------------------------------------------------------------------


def test_seeds_come_in_turn_and_parents_before_their_children():
    found = runs(method=["one-shot", "gradual"], seed=[5, 3, 4])
    assert [run.seed for run in found] == [5, 5, 5, 3, 3, 3, 4, 4, 4]
    for i, run in enumerate(found):
        assert run.parent is None or run.parent in [former.name for former in found[:i]]


def test_seeds_that_choose_come_first():
    found = runs(method="gradual", seed=[0, 1, 2], tune_lr=[0.1, 0.2], choose_seeds=[2, 1])
    assert [run.seed for run in found] == [1, 1, 1, 2, 2, 2, 0, 0, 0]


def test_a_seed_that_no_grid_has_cannot_choose():
    with pytest.raises(
        LehrError, match=r"choose_seeds names the seed 2, which no grid has: give seeds out of \[0, 1\]"
    ):
        runs(seed=[0, 1], choose_seeds=[1, 2])


# -- places in the tables -----------------------------------------------------------------------------------


def test_a_label_is_the_method_as_written():
    assert labels(method=["one-shot", "temperature-annealing:tau=1:target=moving"]) == [
        "one-shot",
        "temperature-annealing:tau=1:target=moving",
    ]


def test_a_label_tells_what_varies_and_is_not_usual():
    assert labels(method="temperature-annealing", tau=[0.5, 1.0]) == [
        "temperature-annealing",
        "temperature-annealing:tau=1",
    ]
    assert labels(method="temperature-annealing", tau=0.3) == ["temperature-annealing"], "it is the same in every row"
    assert labels(method="gradual", tune_epochs=[1, 2]) == ["gradual:epochs=1", "gradual:epochs=2"]
    assert labels(method="gradual", average=[0.0, 0.5], anneal=0.2) == ["gradual", "gradual:average=0.5"]
    assert labels(method="gradual", batch_size=[64, 128], limit=[None, 200]) == [
        "gradual:batch_size=64", "gradual:batch_size=64:limit=200", "gradual", "gradual:limit=200",
    ]  # fmt: skip


def test_a_label_says_nothing_twice():
    found = labels(method=["temperature-annealing", "temperature-annealing:tau=1"], tau=[0.2, 0.5])
    assert found == [
        "temperature-annealing:tau=0.2",
        "temperature-annealing",
        "temperature-annealing:tau=1",
    ]


def test_a_label_does_not_tell_what_is_chosen_or_has_a_panel_or_a_column():
    values = {"seed": [0, 1], "sparsity": [0.5, 0.9], "tune_lr": [0.1, 0.2], "model": ["lenet5", "lenet_300_100"]}
    found = tuned(method="temperature-annealing", tau=[0.1, 0.5], choose=["tau", "tune_lr"], **values)
    assert {run.label for run in found} == {"temperature-annealing"}
    assert {run.choice for run in found} == {(("tau", tau), ("tune_lr", lr)) for tau in (0.1, 0.5) for lr in (0.1, 0.2)}
    assert {run.panel for run in found} == {"model=lenet5", "model=lenet_300_100"}
    assert {run.sparsity for run in found} == {0.5, 0.9}


def test_a_panel_tells_only_what_varies():
    assert {run.panel for run in tuned(method="gradual")} == {""}
    found = tuned(model=["lenet5", "lenet_300_100"], scope=["global", "layer"], panels=["data", "model", "scope"])
    assert [run.panel for run in found] == [
        "model=lenet5, scope=global", "model=lenet5, scope=layer",
        "model=lenet_300_100, scope=global", "model=lenet_300_100, scope=layer",
    ]  # fmt: skip


def test_a_sparsity_that_comes_with_the_granularity():
    found = plan(study_of({"data": "digits", "model": "lenet_300_100", "granularity": ["2:4", "1:4"]}, "t"))
    assert [(run.label, run.sparsity) for run in found if run.kind == "tune"] == [
        ("one-shot:granularity=2:4", 0.5), ("one-shot:granularity=1:4", 0.75),
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["dense", "gradual"])
@pytest.mark.parametrize(
    "axis",
    [
        {"epochs": [1, 2]}, {"lr": [0.1, 0.2]}, {"accumulate": [1, 2]}, {"tune_epochs": [1, 2]}, {"average": [0.0, 0.5]},
        {"batch_size": [64, 128]}, {"momentum": [0.5, 0.9]}, {"tune_momentum": [0.5, 0.9]}, {"tune_schedule": ["llr", "linear"]},
        {"train_batch_size": [64, 128]}, {"precision": ["auto", "fp32"]},
    ],
    ids=str,
)  # fmt: skip
def test_unlike_runs_are_in_unlike_rows(method, axis):
    found = runs(sparsity=[0.9] if method == "gradual" else 0.9, method=[method, "gradual"], **axis)
    for kind in ("train", "tune"):
        own = [run for run in found if run.kind == kind]
        assert len({run.row for run in own}) == len(own)


def test_the_same_run_written_in_two_ways_is_one_row():
    grids = [{"method": "gradual", "target_modules": "layers.1"}, {"method": "gradual", "target_modules": ["layers.1"]}]
    assert labels(grids=grids) == ["gradual"]
    twice = ["temperature-annealing:tau=0.25", "temperature-annealing:tau=0.250"]
    assert labels(method=twice) == twice[:1]


def test_what_is_usual_is_not_told_where_only_one_grid_writes_it():
    assert labels(grids=[{"method": "one-shot", "epochs": 20}, {"method": "gradual"}]) == ["one-shot", "gradual"]


# -- what is recorded, and what is refused ------------------------------------------------------------------


def test_threads_are_written_down_because_bits_depend_on_them():
    assert [run.settings.threads for run in runs()] == [1, 1]
    assert [run.settings.threads for run in runs(threads=2)] == [2, 2]
    assert [run.settings.threads for run in runs(threads=2, tune_threads=3)] == [2, 3]
    assert len({run.name for run in (*runs(threads=1), *runs(threads=2))}) == 4
    for zero in ({"threads": 0}, {"tune_threads": 0}, {"threads": [1, 0]}):
        with pytest.raises(LehrError, match="threads is 0: name the number of threads of a run"):
            runs(**zero)


@pytest.mark.parametrize("name", ["choose", "panels"])
def test_seeds_and_sparsities_are_not_chosen_and_have_no_panels(name):
    for wrong in ("seed", "tune_seed", "sparsity"):
        with pytest.raises(LehrError, match=f"may not name {wrong}: rows are told apart by it"):
            runs(**{name: [wrong]})


def test_a_study_of_training_runs():
    values = {"kind": "train", "data": "digits", "model": "lenet5", "seed": [0, 1], "lr": [0.1, 0.2], "choose": ["lr"]}
    found = plan(study_of({**values, "epochs": [1, 2]}, "t"))
    assert [run.parent for run in found] == [None] * 8
    assert [(run.label, run.choice) for run in found[:4]] == [
        ("epochs=1", (("lr", 0.1),)), ("epochs=2", (("lr", 0.1),)), ("epochs=1", (("lr", 0.2),)), ("epochs=2", (("lr", 0.2),)),
    ]  # fmt: skip


def test_a_study_of_training_runs_chooses_among_rates():
    values = {"kind": "train", "data": "digits", "model": "lenet5", "seed": [0, 1], "lr": [0.1, 0.2]}
    assert {run.choice for run in plan(study_of(values, "t"))} == {(("lr", 0.1),), (("lr", 0.2),)}


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"method": "gradual", "tau": 0.2}, "tau"),
        ({"method": ["one-shot", "dense"], "anneal": "2ep"}, "anneal"),
        ({"method": "dense"}, "sparsity"),
        ({"method": "one-shot", "inactive": "move"}, "inactive"),
        ({"grids": [{"method": "gradual"}, {"method": "one-shot", "target": "moving"}]}, "target"),
    ],
)
def test_a_setting_that_no_method_has_a_use_for_is_refused(values, name):
    with pytest.raises(LehrError, match=f"^{name} is given and no method of the study has a use for it: leave it out$"):
        runs(**values)


def test_rows_are_compared_with_one_that_there_is():
    runs(method=["gradual", "dense"], against="gradual")
    with pytest.raises(LehrError, match="there is no row 'gradul': did you mean 'gradual'"):
        runs(method=["gradual", "dense"], against="gradul")
    runs(method=["gradual", "dense"])  # nobody has asked for one-shot


def test_a_row_that_none_of_the_choosing_seeds_has_is_refused():
    grids = [{"method": "one-shot", "seed": [0, 1]}, {"method": "gradual", "seed": [1]}]
    with pytest.raises(LehrError, match="gradual has none of the seeds that choose.*: add one to its grid"):
        runs(grids=grids, choose_seeds=0, tune_lr=[0.1, 0.2])
    runs(grids=grids, choose_seeds=0)  # nothing to choose


def test_no_seed_at_all_cannot_choose():
    with pytest.raises(LehrError, match="choose_seeds is empty"):
        runs(choose_seeds=[])


def test_a_choice_with_one_value_in_its_row_is_none():
    grids = [{"row": "mask", "learn_mask": [1.0, 2.0]}, {"row": "none"}]
    runs = [run for run in plan(small(grids=grids, choose=["tune_lr", "learn_mask"])) if run.kind == "tune"]
    assert {(run.label, run.choice) for run in runs} == {
        ("mask", (("learn_mask", 1.0),)), ("mask", (("learn_mask", 2.0),)), ("none", ()),
    }  # fmt: skip


def test_what_is_looked_at_on_the_way_tells_no_rows_apart():
    grids = [{"method": "one-shot"}, {"method": "gradual", "validate_every": 4}]
    _, shot, gradual = runs(grids=grids)
    assert (shot.label, gradual.label) == ("one-shot", "gradual")
    assert shot.terms == gradual.terms
    assert gradual.settings.validate_every == 4


def test_a_run_stays_in_its_panel_when_another_of_its_kind_starts_from_it():
    grids = [
        {"row": "ticket", "level": 1, "start": "0"},
        {"row": "branch", "level": 2, "start": "5it", "after": {"start": "0"}},
    ]
    values = {"kind": "ticket", "data": "digits", "model": "lenet_300_100", "panels": ["data", "model", "start"]}
    found = plan(study_of({**values, "grids": grids}, "t"))
    assert {run.label: panels_of(found)[run.name] for run in found if run.kind == "ticket"} == {
        "ticket": ("start=0",), "branch": ("start=5it",),
    }  # fmt: skip
