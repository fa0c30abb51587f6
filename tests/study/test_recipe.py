"""Recipes from YAML, on digits."""

from pathlib import Path

import pytest

from lehr import LehrError, Mask
from lehr.study.recipe import read_recipe, run_recipe

GOOD = """
out: {out}
stages:
  - train: {{data: digits, model: lenet_300_100, epochs: 2, batch-size: 64, threads: 1}}
  - prune: {{name: cut, sparsity: 0.5, threads: 1}}
  - tune: {{from: train, sparsity: 0.9, method: gradual, epochs: 1, threads: 1}}
  - evaluate: {{split: validation}}
  - sensitivity: {{from: train, sparsities: [0.5], examples: 50}}
  - study: {{data: digits, model: lenet_300_100, sparsity: 0.5, method: [one-shot, gradual], epochs: 1, tune_epochs: 1}}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "recipe.yaml"
    file.write_text(text.format(out=folder / "out"))
    return file


def test_every_kind_of_stage_runs_and_a_second_start_trains_nothing(tmp_path):
    recipe = read_recipe(write(tmp_path, GOOD))
    told = []
    results = run_recipe(recipe, told=lambda name, result: told.append(name))
    assert told == ["train", "cut", "tune", "evaluate", "sensitivity", "study"]
    assert Mask.load(tmp_path / "out" / "tune" / "mask.safetensors").sparsity == pytest.approx(0.9, abs=1e-4)
    assert results["evaluate"]["run"] == str(tmp_path / "out" / "tune"), "the latest run, unless told otherwise"
    assert results["evaluate"]["accuracy"] == results["tune"]["validation"]["accuracy"]
    assert (tmp_path / "out" / "sensitivity" / "sensitivity.svg").is_file()
    assert (tmp_path / "out" / "study" / "report.html").is_file()
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.safetensors") if "best" not in p.parts}
    assert run_recipe(recipe)["tune"] == results["tune"]
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps


def test_the_results_of_a_study_tell_the_command_that_made_them(tmp_path):
    file = write(tmp_path, GOOD)
    recipe = read_recipe(file, tmp_path / "o", ["study.sparsity=0.6"])
    assert recipe.command == (
        "lehr", "run", str(file), "--set", "study.sparsity=0.6", "--out", str(tmp_path / "o")
    )  # fmt: skip


def test_changes_from_the_command_line(tmp_path):
    recipe = read_recipe(write(tmp_path, GOOD), tmp_path / "other", ["tune.epochs=3", "study.method=one-shot"])
    assert recipe.out == tmp_path / "other"
    changed = read_recipe(write(tmp_path, GOOD), None, ["sensitivity.from=cut", "study.workers=2"])
    assert [(s.source, s.workers) for s in changed.stages if s.name in ("sensitivity", "study")] == [
        ("cut", 1),
        (None, 2),
    ]
    assert {s.name: s.values.get("epochs") for s in recipe.stages}["tune"] == 3


def test_every_setting_of_a_run_can_be_set(tmp_path):
    from lehr.runs import TuneSettings

    given = {name: field.default for name, field in TuneSettings.model_fields.items() if not field.is_required()}
    lines = "".join(f"      {name}: {'null' if value is None else list(value) if isinstance(value, tuple) else value}\n" for name, value in given.items()
                    if name not in ("parent_epochs",))  # fmt: skip
    text = "stages:\n  - train: {data: digits, model: lenet5}\n  - tune:\n      sparsity: 0.5\n      method: gradual\n"
    file = tmp_path / "all.yaml"
    file.write_text(text + lines)
    assert read_recipe(file).stages[1].values.keys() >= given.keys() - {"parent_epochs"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [", "is not YAML"),
        ("just words", "has no list of stages"),
        ("stages: []", "has no list of stages"),
        ("staegs: []\nstages: [train]", "no part of a recipe 'staegs': did you mean 'stages'"),
        ("stages: [{trian: {}}]", "no kind of stage 'trian': did you mean 'train'"),
        ("stages: [{train: {}, tune: {}}]", "write one kind and its settings"),
        ("stages: [{train: 3}]", "the stage train has 3: give its settings by name"),
        ("stages: [{train: {data: digits}}]", "in the stage train: model is missing"),
        ("stages: [{train: {data: digits, model: lenet5, epoch: 3}}]", "no setting 'epoch': did you mean 'epochs'"),
        ("stages: [{train: {data: digits, model: lenet5, epochs: many}}]", "in the stage train: epochs is 'many'"),
        ("stages: [{tune: {sparsity: 0.5}}]", "the stage tune has nothing to start from"),
        ("stages: [{train: {data: digits, model: lenet5}}, {tune: {sparsity: 95}}]", "sparsity is 95"),
        ("stages: [{train: {data: d, model: m}}, {train: {data: d, model: m}}]", "two stages are called 'train'"),
        ("stages: [{study: {data: d, model: m, workers: 0}}]", "workers is 0"),
        ("stages: [{train: {data: digit, model: lenet5}}]", "in the stage train: there is no data set 'digit'"),
        ("stages: [{train: {data: digits, model: lenet_5}}]", "in the stage train: there is no model 'lenet_5'"),
        ("stages: [{train: {data: digits, model: no.py:f}}]", "there is no file no.py"),
        ("stages: [{train: {data: digits, model: lenet5}}, {tune: {sparsity: 0.5, method: gradua}}]", "did you mean 'gradual'"),
        ("stages: [{train: {data: digits, model: lenet5}}, {tune: {sparsity: 0.5, from: trian}}]", "which is no stage and no path"),
        ("stages: [{train: {data: digits, model: lenet5}}, {tune: {granularity: 2:4}}]", "write it in quotes"),
        ("stages: [{study: {data: digits, model: lenet5, sparsity: 0.5, method: [gradul]}}]", "did you mean 'gradual'"),
        ("stages: [{study: {data: digits, model: lenet5, sparsty: 0.5}}]", "in the stage study: there is no study setting"),
        ("stages: [{train: {data: digits, model: lenet5}}, {evaluate: {run: elsewhere}}]", "sets run: write `from`"),
        ("stages: [{train: {data: digits, model: lenet5}}, {evaluate: {workers: 2}}]", "sets workers, which a stage of the kind"),
        ("stages: [{train: {data: digits, model: lenet5, trackers: 5}}]", "trackers is 5"),
        ("stages: [{train: {data: digits, model: lenet5, trackers: tensorbord}}]", "did you mean 'tensorboard'"),
        ("stages: [{train: {name: ../up, data: digits, model: lenet5}}]", "give it a plain `name`"),
        ("stages: " + 3000 * "[", "is not YAML"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_sentence(tmp_path, text, message):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(LehrError, match=message):
        read_recipe(file)


def test_bad_changes_and_files(tmp_path):
    file = write(tmp_path, GOOD)
    for change, message in (("tune", "write STAGE.SETTING=VALUE"), ("tine.epochs=3", "no stage 'tine': did you mean"),
                            ("tune.epocs=3", "no setting 'epocs'"), ("tune.epochs=[3", "a value that is not YAML")):  # fmt: skip
        with pytest.raises(LehrError, match=message):
            read_recipe(file, None, [change])
    with pytest.raises(LehrError, match="there is no recipe"):
        read_recipe(tmp_path / "nowhere.yaml")


def test_a_recipe_is_data_and_not_code(tmp_path):
    file = tmp_path / "evil.yaml"
    file.write_text(f"stages: !!python/object/apply:os.system ['touch {tmp_path}/ran']")
    with pytest.raises(LehrError, match="is not YAML"):
        read_recipe(file)
    assert not (tmp_path / "ran").exists()
