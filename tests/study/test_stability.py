"""Both stabilities and the barriers of a study of tickets, against what is measured by hand."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from lehr import LehrError, Mask
from lehr.analysis import distance, travel
from lehr.base.files import read_json
from lehr.recipes.connect import ConnectSettings, connect
from lehr.report.between import line_plot, stability_plot
from lehr.runs import RunFolder
from lehr.runs.weights import read_weights
from lehr.study import between
from lehr.study.copies import left_out, steps_in_order
from lehr.study.file import study_of
from lehr.study.mask_statistics import mask_statistics
from lehr.study.measured import measure
from lehr.study.plan import plan
from lehr.study.run import run_study
from lehr.study.stability import stability, stability_study
from lehr.study.ticket import tickets

SMALL = {"data": "digits", "model": "lenet_300_100", "epochs": 2, "batch_size": 64, "rate": 0.5, "threads": 1}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("stability") / "out"


@pytest.fixture(scope="module")
def found(out):
    return run_study(stability_study(**SMALL, rewind=["0", "5it"], rounds=2, seeds=2), out)


@pytest.fixture(scope="module")
def rows(found, out):
    return stability(found, out, points=3)


def test_steps_are_in_the_order_in_which_they_come_whatever_their_unit(found):
    key = steps_in_order(found)  # an epoch has 19
    assert sorted(["0", "30it", "1ep", "0.05", "20it"], key=key) == ["0", "0.05", "1ep", "20it", "30it"]


def test_every_step_and_level_has_its_rows(rows):
    levels = [("dense", 1.0), ("ticket", 0.5), ("random", 0.5), ("ticket", 0.25), ("random", 0.25)]
    assert [(row.start, row.mask, row.density) for row in rows] == [
        (start, *one) for start in ("0", "5it") for one in levels
    ]
    for row in rows:
        assert len(row.accuracy) == len(row.order) == len(row.barrier) == 2
        assert len(row.pruning) == (0 if row.mask == "dense" else 2)


def test_distances_are_those_of_the_networks(found, rows):
    cells = {(cell.panel, cell.label, round(cell.sparsity, 3), cell.seed): cell.path for cell in found.cells}
    row = next(row for row in rows if (row.start, row.mask, row.density) == ("5it", "random", 0.25))
    for seed in (0, 1):
        own = RunFolder(cells["start=5it", "shuffle", 0.75, seed])
        mask, weights = Mask.load(own.mask), read_weights(own.model)
        dense = read_weights(RunFolder(cells["start=5it", "dense, again", 0.0, seed]).model)  # trained as the ticket is
        other = RunFolder(cells["start=5it", "shuffle-order", 0.75, seed])
        assert Mask.load(other.mask) == mask, "one mask in two orders"
        assert row.pruning[seed] == distance(dense, weights, mask)
        assert row.order[seed] == distance(weights, read_weights(other.model), mask)
        assert row.order[seed].l2 > 0


def test_the_dense_network_is_copied_from_step_k_on_and_at_step_0_is_a_copy_itself(found, rows):
    runs = plan(stability_study(**SMALL, rewind=["0", "5it"], rounds=2, seeds=2))
    again = [run for run in runs if run.label == "dense, again"]
    assert {(run.settings.start, run.settings.level, run.settings.order) for run in again} == {("5it", 0, None)}
    assert sum(run.kind == "train" for run in runs) == 2, "one dense network for each seed"
    cells = {(cell.panel, cell.label, cell.seed): cell.path for cell in found.cells if not cell.sparsity}
    for start, first in (("0", "dense parent"), ("5it", "dense, again")):
        row = next(row for row in rows if (row.start, row.mask) == (start, "dense"))
        a, b = (read_weights(RunFolder(cells[f"start={start}", label, 0]).model) for label in (first, "dense, order"))
        whole = Mask({name: tensor == tensor for name, tensor in a.items() if tensor.ndim > 1})
        assert row.order[0] == distance(a, b, whole)


def test_a_barrier_is_that_of_the_test_set_and_is_measured_once(found, rows, out, monkeypatch):
    cells = {(cell.panel, cell.label, round(cell.sparsity, 3), cell.seed): cell.path for cell in found.cells}
    a, b = (cells["start=0", label, 0.75, 1] for label in ("shuffle", "shuffle-order"))
    row = next(row for row in rows if (row.start, row.mask, row.density) == ("0", "random", 0.25))
    assert row.barrier[1] == connect(ConnectSettings(run=a, other=b, points=3))["test"]["barrier"]
    monkeypatch.setattr(between, "connect", None)
    assert stability(found, out, points=3) == rows


def test_what_was_measured_outlives_the_weights(found, rows, out, tmp_path):
    shutil.copy(out / between.FILE, tmp_path)
    gone = [replace(cell, path=str(tmp_path / "runs" / RunFolder(cell.path).path.name)) for cell in found.cells]
    assert stability(replace(found, cells=gone), tmp_path, points=3) == rows
    with pytest.raises(
        LehrError,
        match="are gone, and this was not measured while they were there: measured was --points 3 --bn-batches 100; give those",
    ):
        stability(replace(found, cells=gone), tmp_path, points=4)


def without(found, gone):
    """The findings of the study as if it had never had some of its runs."""
    runs = [run for run in found.runs if not gone(run)]
    kept = {run.folder for run in runs}
    return replace(found, runs=runs, cells=[cell for cell in found.cells if RunFolder(cell.path).path.name in kept])


def test_a_branch_that_is_missing_is_told(found, out):
    lacking = without(found, lambda run: run.label == "order")
    with pytest.raises(
        LehrError, match=r"the study lacks a copy of the ticket at 50 % rewound to 0: train order, shuffle"
    ):
        stability(lacking, out, points=3)


def failing(found, label, seed, sparsity=0.75, panel="start=5it"):
    def spoilt(cell):
        place = (cell.panel, cell.label, round(cell.sparsity, 3), cell.seed)
        return replace(cell, result={"failed": "a layer emptied"}) if place == (panel, label, sparsity, seed) else cell

    return replace(found, cells=[spoilt(cell) for cell in found.cells])


def test_a_level_of_which_a_run_failed_is_left_out_and_told(found, rows, out):
    spoilt = failing(found, "shuffle", 1)
    assert stability(spoilt, out, points=3) == [row for row in rows if (row.start, row.density) != ("5it", 0.25)]
    assert left_out(spoilt) == ["25 % rewound to 5it is left out: shuffle, seed 1, failed: a layer emptied"]
    assert left_out(found) == []
    without = failing(found, "dense, again", 0, sparsity=0.0)
    assert {row.start for row in stability(without, out, points=3)} == {"0"}
    assert left_out(without) == ["everything rewound to 5it is left out: dense, again, seed 0, failed: a layer emptied"]
    copies = failing(found, "dense, order", 0, sparsity=0.0, panel="start=0")
    assert stability(copies, out, points=3) == [row for row in rows if (row.start, row.mask) != ("0", "dense")]
    assert left_out(copies) == [
        "the dense network from 0 on is left out: dense, order, seed 0, failed: a layer emptied"
    ]
    with pytest.raises(LehrError, match="the dense run of seed 0 failed, because: a layer emptied"):
        stability(failing(found, "dense parent", 0, sparsity=0.0, panel="start=0"), out, points=3)


def test_the_dense_network_trained_again_is_asked_for(found, out):
    lacking = without(found, lambda run: run.label in ("dense, again", "dense, order"))
    with pytest.raises(LehrError, match=r"trained again from 5it: .* add a row 'dense, again' of level 0"):
        stability(lacking, out, points=3)


def test_a_seed_that_is_not_done_yet_is_left_out_and_told(found, rows, out):
    cells = [cell for cell in found.cells if (cell.label, cell.seed, cell.panel) != ("order", 1, "start=5it")]
    some = stability(replace(found, cells=cells), out, points=3)
    for own, whole in zip(some, rows, strict=True):
        seeds = 1 if (own.start, own.mask) == ("5it", "ticket") else 2
        assert (own.start, own.mask, own.accuracy) == (whole.start, whole.mask, whole.accuracy[:seeds])
    assert left_out(replace(found, cells=cells)) == [
        f"{level} % rewound to 5it is without seed 1: not done yet: order" for level in (50, 25)
    ]
    with pytest.raises(LehrError, match="no ticket in .* is done yet together with its copies: go on"):
        stability(replace(found, cells=[]), out, points=3)


def test_tickets_that_do_not_go_back_have_no_stability(tmp_path):
    study = tickets(**SMALL, rounds=1, mode="fine-tune", branches=["order", "shuffle", "shuffle-order"])
    found = run_study(study, tmp_path)
    with pytest.raises(LehrError, match="ticket has rewind no, and stability is of subnetworks that go back"):
        stability(found, tmp_path, points=3)


def test_networks_of_two_panels_are_not_mixed(tmp_path):
    grids = [{"row": "order", "level": 1, "ticket_order": 1000}, {"row": "ticket", "level": 1}]
    values = {
        **SMALL,
        "kind": "ticket",
        "seed": 0,
        "lr": [0.1, 0.01],
        "panels": ["lr"],
        "grids": grids,
        "against": "ticket",
    }
    found = run_study(study_of(values, "two rates"), tmp_path)
    with pytest.raises(LehrError, match=r"of seed 0 is there twice \(lr=0\.1; lr=0\.01\): stability is of one network"):
        stability(found, tmp_path, points=3)


def test_levels_and_dense_copies_that_a_study_does_not_have_are_no_rows(found, rows, out):
    some = stability(
        without(found, lambda run: "dense, order" in run.label or round(run.sparsity, 3) == 0.5), out, points=3
    )
    assert some == [row for row in rows if row.density == 0.25]
    copies = ("order", "shuffle-order", "dense, again", "dense, order")
    controlled = without(found, lambda run: run.panel == "start=5it" and run.label in copies)
    assert stability(controlled, out, points=3) == [row for row in rows if row.start == "0"], "controls are no copies"
    with pytest.raises(LehrError, match="has no copies of a ticket: train order, shuffle, shuffle-order"):
        stability(without(found, lambda run: run.kind != "train" and run.label != "ticket"), out)


def test_steps_are_named_once():
    with pytest.raises(LehrError, match="the steps are 0, 0: name each once"):
        stability_study(**SMALL, rewind=["0", "0"], rounds=1)
    with pytest.raises(LehrError, match="the steps are 5it, 5it: name each once"):
        stability_study(**SMALL, rewind=["5it", "0ep5it"], rounds=1)
    with pytest.raises(LehrError, match="rewind names no step"):
        stability_study(**SMALL, rewind=[], rounds=1)


def test_the_plots_say_what_they_show(rows):
    told = [row.as_dict() for row in rows]
    drawn = stability_plot([row for row in told if row["start"] == "0"])
    for word in (
        "L2, pruning",
        "angle, two orders of the data",
        "barrier",
        "ticket",
        "random",
        "dense",
        "weights left, %",
    ):
        assert word in drawn
    steps = stability_plot([row for row in told if row["density"] in (1.0, 0.25)], "start")
    assert "25 % of the weights left; 2 seeds" in steps
    fewer = [{**row, "accuracy": row["accuracy"][: 1 + (row["mask"] == "ticket")]} for row in told]
    assert "; 1 to 2 seeds" in stability_plot(fewer, "start")
    line = line_plot({"test": {"alphas": [0.0, 0.5, 1.0], "errors": [0.1, 0.3, 0.1], "barrier": 0.2}})
    assert "test, barrier 20.0 points" in line


def test_masks_are_told_layer_by_layer(found, tmp_path):
    rows = mask_statistics(found)
    assert [(row.start, row.level, row.mask) for row in rows[::3]] == [
        (start, level, mask) for start in ("0", "5it") for level in (0.5, 0.25) for mask in ("ticket", "random")
    ]
    cells = {(cell.panel, cell.label, round(cell.sparsity, 3), cell.seed): cell.path for cell in found.cells}
    folders = [RunFolder(cells["start=5it", "ticket", 0.75, seed]) for seed in (0, 1)]
    masks = [Mask.load(folder.mask) for folder in folders]
    for row in rows:
        if (row.start, row.level, row.mask) == ("5it", 0.25, "ticket"):
            a, b = (mask[row.layer] for mask in masks)
            assert row.density == pytest.approx(float((a.double().mean() + b.double().mean()) / 2))
            assert row.overlap == pytest.approx(float((a & b).sum() / (a | b).sum()))
            went = [
                travel(read_weights(one.origin), read_weights(one.model), own)[row.layer]
                for one, own in zip(folders, masks, strict=True)
            ]
            assert row.travel == pytest.approx(sum(went) / 2)
        elif row.mask == "random" and row.layer != "layers.5.weight":
            assert row.overlap == pytest.approx(row.chance, abs=0.03)
    gone = [replace(cell, path=str(tmp_path / "runs" / RunFolder(cell.path).path.name)) for cell in found.cells]
    assert mask_statistics(replace(found, cells=gone)) == []


def test_a_layer_that_begins_at_0_has_no_travel(tmp_path):
    network = "from torch import nn\n\ndef net(num_classes):\n    head = nn.Linear(16, num_classes)\n    nn.init.zeros_(head.weight)\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), head)\n"
    (tmp_path / "zero.py").write_text(network)
    study = stability_study(**{**SMALL, "model": f"{tmp_path / 'zero.py'}:net"}, rewind=["0"], rounds=1)
    measured = measure(run_study(study, tmp_path / "out"), tmp_path / "out", points=3, bn_batches=0)
    assert {row.layer: row.travel is None for row in measured.layers} == {"1.weight": False, "3.weight": True}
    assert read_json(tmp_path / "out" / "masks.json")[1]["travel"] is None
