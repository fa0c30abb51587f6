"""Children and cycles as runs: which masks, seeds and orders they have, and what their settings refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lehr import LehrError, Mask, partition
from lehr.base.draws import Purpose, Stream
from lehr.recipes.method import build_method
from lehr.recipes.train import train
from lehr.recipes.tune import tune
from lehr.runs import ChildSettings, CycleSettings, RunFolder, TrainSettings, validated
from lehr.runs.digest import weights_digest
from lehr.sparsify.sample import Sample
from lehr.sparsify.shard import Shard

SHORT = {"data": "digits", "model": "lenet_300_100", "epochs": 1, "batch_size": 64, "threads": 1}

FROM_NOTHING = {**SHORT, "parent": "", "parent_digest": ""}


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("members") / "dense"
    train(TrainSettings(**SHORT), folder)
    return folder


def started(kind, parent: Path, **values):
    digest = weights_digest(RunFolder(parent).weights())
    return validated(kind, {**SHORT, "parent": str(parent), "parent_digest": digest, **values})


def masks(dense: Path, out: Path, count: int, **values) -> list[Mask]:
    for child in range(count):
        tune(started(ChildSettings, dense, child=child, **values), out / str(child))
    return [Mask.load(out / str(child) / "mask.safetensors") for child in range(count)]


def test_pairs_are_complements_and_pairs_differ(dense, tmp_path):
    found = masks(dense, tmp_path, 4, method="temperature-annealing", all_weights=True, complement=True)
    assert found[1] == ~found[0]
    assert found[3] == ~found[2]
    assert found[2] != found[0]
    for child, mask in enumerate(found):
        weights = RunFolder(tmp_path / str(child)).weights()
        assert all((weights[name][~keep] == 0).all() for name, keep in mask.items())


def test_parts_of_a_partition_cover_and_are_disjoint(dense, tmp_path):
    found = masks(dense, tmp_path, 3, family="partition", parts=3)
    assert (found[0] | found[1] | found[2]).sparsity == 0
    assert all((a & b).kept == 0 for a, b in ((found[0], found[1]), (found[0], found[2]), (found[1], found[2])))


@pytest.mark.parametrize("family", ["anti-random", "partition"])
@pytest.mark.parametrize("method", ["temperature-annealing", "random-annealing"])
def test_members_of_one_deal_draw_on_their_own_unless_the_pair_is_to_stay_one(method, family):
    net, shard = nn.Sequential(nn.Linear(100, 200, bias=False)), Shard("0.weight", 0, 20_000, (200, 100))

    def drawn(child: int, **values) -> torch.Tensor:
        settings = validated(
            ChildSettings, {**FROM_NOTHING, "child": child, "family": family, "method": method, **values}
        )
        part = partition(net, 2, seed=settings.draw_seed)[child]
        way = build_method(settings, part, 100)
        stream = Stream(way.seed, "0.weight", Purpose.MASK, 0, 0, 0)
        return Sample(stream, way.chance(0, shard), way.mirrored).chosen(shard, part["0.weight"]).double().flatten()

    one, other = drawn(0, all_weights=True), drawn(1, all_weights=True)
    assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.05
    if family == "anti-random":
        assert torch.equal(drawn(1, all_weights=True, complement=True), 1 - one)


def test_random_children_are_independent_and_magnitude_ones_have_one_mask(dense, tmp_path):
    random = masks(dense, tmp_path / "random", 2, family="random", sparsity=0.7)
    assert random[0].sparsity == pytest.approx(0.7, abs=1e-3)
    both = (random[0] & random[1]).density
    assert both == pytest.approx(0.09, abs=0.02)
    magnitude = masks(dense, tmp_path / "magnitude", 2, family="magnitude", sparsity=0.7)
    assert magnitude[0] == magnitude[1]
    one, other = (RunFolder(tmp_path / "magnitude" / str(child)).weights() for child in (0, 1))
    assert any(not torch.equal(one[name], other[name]) for name in one), "they see their data in other orders"


def test_cycles_are_dense_or_prune_what_is_left(dense, tmp_path):
    tune(started(CycleSettings, dense, schedule="cosine"), tmp_path / "snapshot")
    assert not (tmp_path / "snapshot" / "mask.safetensors").is_file()
    tune(started(CycleSettings, dense, method="one-shot", rate=0.5), tmp_path / "one")
    tune(started(CycleSettings, tmp_path / "one", method="one-shot", rate=0.5, cycle=2), tmp_path / "two")
    one, two = (Mask.load(tmp_path / name / "mask.safetensors") for name in ("one", "two"))
    assert (one.density, two.density) == (pytest.approx(0.5, abs=1e-4), pytest.approx(0.25, abs=1e-4))
    assert (two - one).kept == 0


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ChildSettings, {"sparsity": 0.9}, r"sparsity is 0.9 and 2 parts leave 0.5 out of each: leave sparsity out"),
        (ChildSettings, {"parts": 3}, "parts is 3 and an anti-random pair has 2"),
        (ChildSettings, {"family": "random", "parts": 3}, "parts is 3 and the family random has none"),
        (
            ChildSettings,
            {"family": "random", "sparsity": 0.5, "complement": True},
            "complement is of anti-random pairs and the family is random",
        ),
        (
            ChildSettings,
            {"family": "antirandom", "sparsity": 0.5},
            "no family 'antirandom': did you mean 'anti-random'",
        ),
        (ChildSettings, {"child": -1}, "child is -1"),
        (CycleSettings, {"rate": 0.2}, "rate is 0.2 and method dense: give both to prune, or neither"),
        (CycleSettings, {"method": "one-shot"}, "rate is 0.0 and method one-shot"),
        (CycleSettings, {"cycle": 0}, "cycle is 0"),
    ],
)
def test_what_cannot_be_a_member_is_one_sentence(dense, kind, values, message):
    with pytest.raises(LehrError, match=message):
        started(kind, dense, **values)


def test_the_second_of_a_pair_says_where_its_draws_have_no_complement(dense, tmp_path):
    with pytest.raises(LehrError, match="have no complement: set all_weights"):
        tune(started(ChildSettings, dense, child=1, method="temperature-annealing", complement=True), tmp_path / "run")
