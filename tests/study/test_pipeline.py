"""The pipeline: what its stages mean, what it refuses, and that it goes on where it stopped."""

from __future__ import annotations

import pytest
import torch

import lehr
from lehr import LehrError
from lehr.models import create
from lehr.runs import RunFolder, TrainSettings, TuneSettings
from lehr.runs.weights import read_weights
from lehr.study.pipeline import STAGES, pipeline
from lehr.study.plan import plan
from lehr.study.run import run_study
from lehr.study.teams import left_out
from tests.study.small import bits, small, stopped_often

SMALL = {
    "data": "digits", "model": "lenet_300_100", "sparsity": [0.9], "epochs": 2, "tune_epochs": 2, "batch_size": 64,
    "threads": 1,
}  # fmt: skip


def settings(*stages: str, **more) -> tuple[TrainSettings, TuneSettings]:
    """Of the two runs of the pipeline."""
    runs = plan(pipeline(stages or STAGES, **{**SMALL, **more}))
    (tuned,) = (run for run in runs if run.label == "pipeline")
    return next(run.settings for run in runs if run.name == tuned.parent), tuned.settings


def test_what_each_stage_means():
    dense, tuned = settings()
    assert (dense.init, dense.learn_mask, dense.mask_warm_up, dense.mask_ramp) == (
        "zero-orthogonal",
        3.0,
        "0.25",
        "0.5",
    )
    assert (tuned.score, tuned.smooth, tuned.method) == ("magnitude", ("labels", "activations"), "one-shot")
    dense, tuned = settings("magnitude")
    assert (dense.init, dense.learn_mask, tuned.score, tuned.smooth) == ("default", 0.0, "magnitude", ())
    dense, tuned = settings("mask")
    assert (dense.init, dense.learn_mask, tuned.score) == ("default", 3.0, "learned-mask")
    dense, tuned = settings("zero", "mask", "magnitude", learn_mask=5.0, mask_ramp="0", method="gradual")
    assert (dense.learn_mask, dense.mask_ramp, tuned.method) == (5.0, "0", "gradual")


def test_what_is_given_reaches_the_rows_that_have_a_use_for_it():
    given = {"label_smoothing": 0.3, "smooth_for": "1ep", "learn_mask": 2.0}
    runs = plan(pipeline(**SMALL, ablate=True, seeds=2, tune_lr=[0.1, 0.01], **given))
    own = [run for run in runs if run.label == "pipeline"]
    assert {(run.seed, run.settings.lr) for run in own} == {(s, lr) for s in (0, 1) for lr in (0.1, 0.01)}
    for run in runs:
        if run.kind == "train":
            assert run.settings.learn_mask in (0.0, 2.0)
        elif run.settings.smooth:
            assert (run.settings.label_smoothing, run.settings.smooth_for) == (0.3, "1ep")
        else:
            assert (run.settings.label_smoothing, run.settings.smooth_for) == (0.1, "0.5")
    assert pipeline(**SMALL, ablate=True).against == "magnitude alone"
    assert pipeline(**SMALL).alike == "epochs"


def test_ablation_leaves_each_out_and_has_each_alone():
    names = [grid["row"] for grid in pipeline(**SMALL, ablate=True).grids]
    assert names == [
        "dense", "pipeline", "without zero", "without mask", "without magnitude", "without smooth", "magnitude alone",
        "zero and magnitude", "mask and magnitude", "smooth and magnitude",
    ]  # fmt: skip
    assert [grid["row"] for grid in pipeline(("magnitude", "smooth"), **SMALL, ablate=True).grids] == [
        "dense", "pipeline", "without smooth",
    ]  # fmt: skip


def test_convolutions_are_gone_around_and_a_vit_has_its_labels_smoothed():
    assert settings("magnitude", "smooth", model="lenet5")[1].smooth == ("labels", "activations", "skips")
    assert settings("magnitude", "smooth", smooth=["labels"])[1].smooth == ("labels",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": ["zero", "smooth"]}, "nothing chooses the weights: add magnitude, or mask, to the stages"),
        ({"stages": ["magnitud"]}, "there is no stage of a pipeline 'magnitud': did you mean 'magnitude'"),
        ({"stages": ["mask", "mask"]}, "name each once"),
        ({"smooth": ["skips"]}, "the network has no convolution to go around"),
        ({"stages": ["magnitude"], "smooth": ["labels"]}, "the stages leave smoothing out"),
        ({"method": "dense"}, "method is dense, and a pipeline prunes"),
        ({"stages": ["magnitude"], "learn_mask": 7.0}, "learn_mask is 7.0 and the stages leave mask out"),
        ({"stages": ["magnitude"], "smooth_for": "1ep"}, "smooth_for is 1ep and the stages leave smooth out"),
        ({"learn_mask": 0.0}, "learn_mask is 0, which is no mask: leave mask out"),
        ({"seeds": 0}, "seeds is 0"),
        ({"model": "gpt_mini"}, "gpt_mini reads tokens and the data holds images"),
    ],
)
def test_what_cannot_work_is_one_sentence(change, message):
    with pytest.raises(LehrError, match=message):
        pipeline(**{**SMALL, **change})


def test_it_runs_and_nothing_of_the_parts_is_left(tmp_path):
    found = run_study(pipeline(**SMALL), tmp_path / "out")
    assert [(row.label, row.sparsity) for row in found.rows] == [("dense", 0.0), ("pipeline", 0.9)]
    cell = next(cell for cell in found.cells if cell.label == "pipeline")
    weights = read_weights(RunFolder(cell.path).model)
    assert set(weights) == set(create("lenet_300_100", num_classes=10, input_shape=(1, 8, 8)).state_dict())
    mask = lehr.Mask.load(RunFolder(cell.path).mask)
    assert all(not weights[name][~keep].any() for name, keep in mask.items())
    dense = next(run for run in plan(found.study) if run.kind == "train" and run.settings.learn_mask)
    folder = RunFolder(dense.path(tmp_path / "out"))
    m = read_weights(folder.learned)
    assert set(m) == set(mask)
    assert all(((one >= 0) & (one <= 1)).all() for one in m.values())
    row = folder.metrics()[-1]
    flat = torch.cat([one.flatten() for one in m.values()])
    assert row["mask_mean"] == pytest.approx(float(flat.double().mean()), abs=1e-6)


def test_stopped_in_any_stage_it_goes_on_to_the_same_bits(tmp_path):
    study = pipeline(("zero", "mask", "magnitude", "smooth"), **SMALL, method="rigl", seeds=1)
    run_study(study, tmp_path / "whole")
    whole = bits(tmp_path / "whole")
    assert stopped_often(study, tmp_path / "cut", every=13) > 6  # somewhere in every stage
    assert bits(tmp_path / "cut") == whole


def test_the_score_alone_ranks_by_the_mask(tmp_path):
    found = run_study(pipeline(("mask",), **SMALL), tmp_path / "out")
    cell = next(cell for cell in found.cells if cell.label == "pipeline")
    parent = next(run for run in plan(found.study) if run.kind == "train" and run.settings.learn_mask)
    m = read_weights(RunFolder(parent.path(tmp_path / "out")).learned)
    mask = lehr.Mask.load(RunFolder(cell.path).mask)
    inside = torch.cat([m[name][keep] for name, keep in mask.items()])
    outside = torch.cat([m[name][~keep] for name, keep in mask.items()])
    assert inside.min() >= outside.max()


# -- what it needs of studies -------------------------------------------------------------------------------


def test_rows_of_the_same_epochs_are_compared_from_whatever_they_start(tmp_path):
    grids = [
        {"row": "late", "epochs": 2, "tune_epochs": 1},
        {"row": "from the start", "epochs": 0, "tune_epochs": 3, "score": "random"},
        {"row": "longer", "epochs": 3, "tune_epochs": 1},
    ]
    study = small(grids=grids, method="one-shot", alike="epochs", against="late", seed=[0, 1])
    found = run_study(study, tmp_path / "out")
    rows = {row.label: row for row in found.rows}
    assert set(rows) == {"late", "from the start", "longer"}, "a half of a row's training is no row"
    assert {run.kind for run in found.runs} == {"tune"}, "nor is it a run of the study that could be missing"
    assert not left_out(found)
    assert rows["from the start"].difference == rows["from the start"].difference
    assert rows["longer"].difference != rows["longer"].difference, "it has more epochs and is not compared"


def test_alike_are_rows_of_one_network_data_and_batch_with_as_many_epochs_in_all():
    def terms(**change: object) -> str:
        runs = plan(small(grids=[{"method": "one-shot"}], alike="epochs", **change))
        return next(run.terms for run in runs if run.kind == "tune")

    usual = terms(epochs=2, tune_epochs=1)
    assert terms(epochs=0, tune_epochs=3, lr=0.3, init="zero", score="random") == usual
    for change in ({"epochs": 3}, {"tune_epochs": 2}, {"batch_size": 32}, {"model": "lenet5"}, {"data": "mnist"}):
        assert terms(**{"epochs": 2, "tune_epochs": 1, **change}) != usual, change
    with pytest.raises(LehrError, match="start is 1ep, and alike: epochs counts whole runs: leave one out"):
        terms(start="1ep")


def test_a_row_has_the_name_that_it_is_given():
    runs = plan(small(grids=[{"row": "mine", "method": "gradual"}, {"method": "one-shot"}]))
    assert {run.label for run in runs if run.kind == "tune"} == {"mine", "one-shot"}
    with pytest.raises(LehrError, match="row is 3: give the row a name"):
        plan(small(grids=[{"row": 3}]))
    with pytest.raises(LehrError, match="unlike runs are both called 'a'"):
        plan(small(grids=[{"row": "a", "method": "gradual"}, {"row": "a", "method": "one-shot"}]))


def test_a_mask_that_is_not_learned_cannot_be_the_score():
    with pytest.raises(LehrError, match="score is learned-mask and the run that it starts from learns none"):
        run_study(small(score="learned-mask"), "nowhere")
    with pytest.raises(LehrError, match="mask_ramp is 0.5 and no mask is learned"):
        run_study(small(mask_ramp=0.5, method="gradual"), "nowhere")
    with pytest.raises(LehrError, match="label_smoothing is 0.2 and labels is not smoothed"):
        run_study(small(label_smoothing=0.2, method="gradual"), "nowhere")
    with pytest.raises(LehrError, match="softness is 2.0 and activations is not smoothed"):
        run_study(small(smooth="labels", softness=2.0, method="gradual"), "nowhere")
    with pytest.raises(LehrError, match="there is no smooth 'label': did you mean 'labels'"):
        run_study(small(smooth="label", method="gradual"), "nowhere")
