"""Study files: what is common, what is a grid's own, and what is refused."""

from pathlib import Path

import pytest

from lehr import LehrError
from lehr.study.file import read_study, study_of
from lehr.study.plan import plan


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "tried.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_a_study_with_all_of_its_parts(tmp_path):
    study = read_study(
        written(
            tmp_path,
            """
            title: Which is best?
            choose: [tune_lr, average]
            choose_seeds: [0, 1]
            panels: model
            against: gradual
            keep_weights: false
            data: digits
            model: lenet5
            tune-lr: [0.1, 0.2]
            """,
        )
    )
    assert (study.title, study.name) == ("Which is best?", "which-is-best")
    assert (study.choose, study.choose_seeds, study.panels) == (("tune_lr", "average"), (0, 1), ("model",))
    assert (study.against, study.keep_weights, study.kind) == ("gradual", False, "tune")
    assert study.grids == ({"data": "digits", "model": "lenet5", "tune_lr": [0.1, 0.2]},)


def test_what_is_left_out_has_its_default_and_the_title_is_the_files_name(tmp_path):
    study = read_study(written(tmp_path, "data: digits\nmodel: lenet5\n"))
    assert (study.title, study.against, study.keep_weights) == ("tried", "one-shot", True)
    assert (study.choices, study.choose_seeds, study.panels) == (("tune_lr",), None, ("data", "model"))


def test_one_name_or_seed_needs_no_list():
    study = study_of({"choose": "tau", "panels": "data", "choose_seeds": 3, "data": "digits"}, "t")
    assert (study.choose, study.panels, study.choose_seeds) == (("tau",), ("data",), (3,))


def test_grids_have_what_is_common_unless_they_say_otherwise():
    study = study_of(
        {
            "epochs": 3,
            "tau": [0.1, 0.2],
            "grids": [{"method": "gradual"}, {"method": "one-shot", "epochs": 5}, {"tau": 0.5}],
        },
        "t",
    )
    assert study.grids == (
        {"epochs": 3, "tau": [0.1, 0.2], "method": "gradual"},
        {"epochs": 5, "tau": [0.1, 0.2], "method": "one-shot"},
        {"epochs": 3, "tau": 0.5},
    )


def test_dashes_are_underscores_in_every_place():
    study = study_of({"batch-size": 64, "grids": [{"tune-lr": 0.1}, {"batch-size": 32}]}, "t")
    assert study.grids == ({"batch_size": 64, "tune_lr": 0.1}, {"batch_size": 32})


FINE = "data: digits\nmodel: lenet5\nsparsity: 0.9\n"
BAD = {
    "broken": ("data: [digits", r"tried\.yaml is not YAML .*: correct it"),
    "bytes": (b"\xff\xfe\x00data", r"tried\.yaml is not YAML"),
    "deep": ("data: " + 3000 * "[", r"tried\.yaml is not YAML"),
    "code": ("data: !!python/object/apply:os.getcwd []", r"tried\.yaml is not YAML"),
    "nothing": ("", "has no settings: write `data: digits`"),
    "empty": ("{}", "has no settings"),
    "words": ("just words", "has no settings"),
    "list": ("- data: digits", "has no settings"),
    "grids": (FINE + "grids: {method: gradual}", "grids is {'method': 'gradual'}: give a list of grids"),
    "no grid": (FINE + "grids: []", r"grids is \[\]: give a list of grids"),
    "a grid of words": (FINE + "grids: [gradual]", r"grids is \['gradual'\]: give a list of grids"),
    "no title": (FINE + "title:", "title is None: it should be a valid string"),
    "seeds": (FINE + "choose_seeds: some", "choose_seeds is 'some'"),
    "choose": (FINE + "choose: {tau: 1}", "choose is {'tau': 1}"),
    "weights": (FINE + "keep_weights: perhaps", "keep_weights is 'perhaps'"),
    "setting": (FINE + "sparsty: 0.5", "there is no study setting 'sparsty': did you mean 'sparsity'"),
    "setting of a grid": (FINE + "grids: [{batchsize: 3}]", "no study setting 'batchsize': did you mean 'batch_size'"),
    "kind": (FINE + "kind: tuned", "there is no kind of run 'tuned': did you mean 'tune'"),
    "method": (FINE + "method: [one-shot, gradul]", "there is no method 'gradul': did you mean 'gradual'"),
    "value": (FINE + "epochs: [1, many]", "epochs is 'many'"),
    "empty list": (FINE + "tau: []", "tau is an empty list"),
    "to choose": (FINE + "choose: [lrr]", "there is no study setting 'lrr'"),
    "panel": (FINE + "panels: [dta]", "there is no study setting 'dta': did you mean 'data'"),
    "to choose seeds": (FINE + "choose: seed", "may not name seed: rows are told apart by it, or averaged over it"),
    "panels of sparsities": (FINE + "panels: sparsity", "may not name sparsity"),
    "no such seed": (FINE + "seed: [0, 1]\nchoose_seeds: [0, 7]", r"choose_seeds names the seed 7, which no grid has: give seeds out of \[0, 1\]"),
    "threads": (FINE + "threads: 0", "threads is 0: name the number of threads of a run"),
    "no data": ("model: lenet5\nsparsity: 0.9", "data is missing: give it a value"),
    "no sparsity": ("data: digits\nmodel: lenet5\nmethod: gradual", "sparsity is missing"),
    "granularity": (FINE + "granularity: 2:4", "write it in quotes"),
    "twice": (FINE + "lr: 0.1\nlr: 0.2", "lr is given twice"),
    "twice, in two spellings": (FINE + "tune_lr: 0.1\ntune-lr: 0.2", "tune_lr is given twice, with - and with _: leave one out"),
    "no setting of a file": (FINE + "parent: elsewhere", "there is no study setting 'parent'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_sentence(tmp_path, name):
    text, message = BAD[name]
    with pytest.raises(LehrError, match=message) as told:
        plan(read_study(written(tmp_path, text)))
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there(tmp_path):
    for place in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(LehrError, match=r"there is no study .*: give the path of a YAML file"):
            read_study(place)


def test_a_file_is_data_and_not_code(tmp_path):
    with pytest.raises(LehrError, match="is not YAML"):
        read_study(written(tmp_path, f"data: !!python/object/apply:os.system ['touch {tmp_path}/ran']"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("title", "name"), [("LeNet: 90 %, twice", "lenet-90-twice"), ("---", "study"), ("a", "a")])
def test_a_name_for_a_folder(title, name):
    assert study_of({"data": "digits"}, title).name == name
