"""Both stabilities of a study of tickets, against distances taken by hand."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

from lehr import LehrError, Mask
from lehr.analysis import distance
from lehr.report.between import line_plot, stability_plot
from lehr.runs import RunFolder
from lehr.runs.weights import read_weights
from lehr.study.run import run_study
from lehr.study.stability import BRANCHES, stability
from lehr.study.ticket import tickets

SMALL = {
    "data": "digits", "model": "lenet_300_100", "epochs": 2, "batch_size": 64, "rate": 0.5, "rewind": "5it", "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run_study(
        tickets(**SMALL, rounds=2, branches=BRANCHES, seeds=2), tmp_path_factory.mktemp("stability") / "out"
    )


def test_it_is_the_mean_over_seeds_of_the_distances(found):
    rows = stability(found)
    assert [(row.mask, row.density, row.seeds) for row in rows] == [
        ("ticket", 0.5, 2), ("random", 0.5, 2), ("ticket", 0.25, 2), ("random", 0.25, 2),
    ]  # fmt: skip
    cells = {(cell.label, round(cell.sparsity, 3), cell.seed): cell.path for cell in found.cells}
    pruning, order = [], []
    for seed in (0, 1):
        own = RunFolder(cells["shuffle", 0.75, seed])
        mask, weights = Mask.load(own.mask), read_weights(own.model)
        dense = read_weights(RunFolder(cells["dense parent", 0.0, seed]).model)
        other = read_weights(RunFolder(cells["shuffle-order", 0.75, seed]).model)
        assert Mask.load(RunFolder(cells["shuffle-order", 0.75, seed]).mask) == mask, "one mask in two orders"
        pruning.append(distance(dense, weights, mask))
        order.append(distance(weights, other, mask))
    assert rows[3].pruning.l2 == pytest.approx(statistics.fmean(one.l2 for one in pruning))
    assert rows[3].pruning.angle == pytest.approx(statistics.fmean(one.angle for one in pruning))
    assert rows[3].order.l2 == pytest.approx(statistics.fmean(one.l2 for one in order))
    assert rows[3].order.l2 > 0


def test_a_branch_that_is_missing_is_told(found):
    lacking = replace(found, cells=[cell for cell in found.cells if cell.label != "order"])
    with pytest.raises(
        LehrError, match=r"the study lacks ticket or order at seed 0: train the branches order, shuffle"
    ):
        stability(lacking)


def test_the_plots_say_what_they_show(found):
    drawn = stability_plot([row.as_dict() for row in stability(found)])
    assert drawn.startswith("<svg") or "<svg" in drawn
    for word in ("stability to pruning", "stability to the order of the data", "ticket", "random", "angle, degrees"):
        assert word in drawn
    line = line_plot({"test": {"alphas": [0.0, 0.5, 1.0], "errors": [0.1, 0.3, 0.1], "barrier": 0.2}})
    assert "test, barrier 20.0 points" in line
