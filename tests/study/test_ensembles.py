"""Ensembles as studies: none trained twice, grouped and judged as they should be, from any start."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from lehr import LehrError, Mask
from lehr.analysis.paired import paired_difference, unpaired_difference
from lehr.analysis.quality import quality
from lehr.ensembles import mean_logits, mean_probabilities
from lehr.recipes.ensemble import judge, open_members
from lehr.recipes.questions import TEST, Answer, EnsembleSettings
from lehr.recipes.train import train
from lehr.report.cells import Cell
from lehr.report.ensemble_rows import columns_of, words
from lehr.report.ensembles import markdown
from lehr.report.summary import summarise
from lehr.runs import RunFolder, TrainSettings
from lehr.runs.digest import weights_digest
from lehr.study import judged as judged_module
from lehr.study.choice import expected
from lehr.study.ensembles import ensemble_rows
from lehr.study.family import adopt, family, parents, settings_from
from lehr.study.file import study_of
from lehr.study.findings import Findings
from lehr.study.folder import left_behind
from lehr.study.judged import judge_studies
from lehr.study.plan import plan
from lehr.study.results import cells_of
from lehr.study.run import run_study
from lehr.study.teams import Extra, Team, left_out, teams
from lehr.study.told import best_lines, measured_before, publish
from tests.study.small import bits, stopped_often

SMALL = {"data": "digits", "model": "lenet_300_100", "epochs": 1, "child_epochs": 1, "batch_size": 64, "threads": 1}
CYCLES = {
    "kind": "cycle", "data": "digits", "model": "lenet_300_100", "epochs": 1, "batch_size": 64, "threads": 1,
    "grids": [
        {"row": "snapshot", "epochs": 0, "cycle": 3, "cycle_epochs": 1, "cycle_schedule": "cosine"},
        {"row": "constant", "cycle": 2, "cycle_epochs": 1, "cycle_schedule": "constant"},
        {"row": "pruned", "cycle": 2, "cycle_epochs": 1, "method": "one-shot", "rate": 0.5},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    out = tmp_path_factory.mktemp("family") / "out"
    return run_study(family(**SMALL, children=4, seeds=[0, 1]), out), out


@pytest.fixture(scope="module")
def cycled(tmp_path_factory):
    out = tmp_path_factory.mktemp("cycles") / "out"
    return run_study(study_of(CYCLES, "cycles"), out), out


def test_every_family_has_one_parent_and_its_children(grown):
    found, out = grown
    assert sum(run.kind == "train" for run in found.runs) == 2
    groups = {(team.label, team.seed): team for team in teams(found, out)}
    assert {key: len(team.runs) for key, team in groups.items()} == {
        ("dense parent", 0): 1, ("dense parent", 1): 1, ("anti-random", 0): 4, ("anti-random", 1): 4,
    }  # fmt: skip
    masks = [Mask.load(RunFolder(run).mask) for run in groups["anti-random", 1].runs]
    assert masks[1] == ~masks[0]
    assert masks[3] == ~masks[2]
    assert masks[0] != masks[2]
    (row,) = (row for row in found.rows if row.label == "anti-random")
    assert row.n == 2, "siblings are no seeds"


def test_scores_are_those_of_the_means_by_hand(grown):
    found, out = grown
    team = next(team for team in teams(found, out) if team.label == "anti-random")
    members = open_members(team.runs)
    result = judge(members, EnsembleSettings(run="", temperature=True))
    data = members.data
    with torch.no_grad():
        logits = torch.stack([net.eval()(data.prepare.judged(data.test.inputs)) for net in members.networks])
    for name, combine in (("probabilities", mean_probabilities), ("logits", mean_logits)):
        wanted = quality(combine(logits), data.test.targets).as_dict()
        assert {key: result[name][key] for key in wanted} == pytest.approx(wanted, abs=1e-5)
    assert [one["accuracy"] for one in result["members"]] == [
        pytest.approx(quality(one, data.test.targets).accuracy) for one in logits
    ]
    cost = result["cost"]
    assert cost["epochs"] == 1 + 4, "the parent once, and its children"
    assert cost["kept_flops"] == pytest.approx(0.5 * cost["flops"], rel=1e-3)
    assert cost["training_flops"] == pytest.approx(3 * len(data.train) * cost["flops"] / 4 * (1 + 4 * 0.5), rel=1e-2)
    assert result["temperature"]["nll"] <= result["probabilities"]["nll"] + 0.05


def test_cycles_come_one_after_the_other_and_are_one_ensemble(cycled):
    found, out = cycled
    groups = {team.label: team for team in teams(found, out, Extra(swag=3))}
    assert {label: len(team.runs) for label, team in groups.items()} == {
        "dense parent, epochs=1": 1, "snapshot": 3, "constant": 2, "pruned": 2, "SWAG of constant": 2,
    }  # fmt: skip
    parents = [RunFolder(run).settings().parent for run in groups["snapshot"].runs]
    assert parents[1:] == list(groups["snapshot"].runs[:2])
    drawn = judge_studies([out], EnsembleSettings(run=""), Extra(swag=3))
    assert {team.label: result["count"] for team, result in drawn}["SWAG of constant"] == 3


def test_other_runs_are_alone_and_of_several_rates_validation_prefers_one(tmp_path):
    found = run_study(family(**{**SMALL, "child_lr": [0.1, 0.0001]}, children=2), tmp_path / "rates")
    (team,) = (team for team in teams(found, tmp_path / "rates") if team.label == "anti-random")
    assert {RunFolder(run).settings().lr for run in team.runs} == {0.1}
    own = {"data": "digits", "model": "lenet_300_100", "epochs": 1, "tune_epochs": 1, "batch_size": 64, "threads": 1}
    found = run_study(study_of({**own, "sparsity": [0.5, 0.9], "method": "one-shot"}, "t"), tmp_path / "tuned")
    assert sorted((team.label, len(team.runs)) for team in teams(found, tmp_path / "tuned")) == [
        ("dense parent", 1), ("one-shot (50 %)", 1), ("one-shot (90 %)", 1),
    ]  # fmt: skip


def test_dense_runs_of_several_rates_are_one_ensemble_at_the_rate_that_validation_prefers(tmp_path):
    own = {"kind": "train", "data": "digits", "model": "lenet_300_100", "epochs": 1, "batch_size": 64, "threads": 1}
    study = study_of(
        {**own, "lr": [0.1, 0.0001], "seed": [0, 1, 2], "choose_seeds": 0, "grids": [{"row": "single"}]}, "t"
    )
    found = run_study(study, tmp_path)
    made = teams(found, tmp_path, Extra(deep=2))
    assert [(team.label, team.seed, len(team.runs)) for team in made] == [
        ("single", 0, 1), ("single", 1, 1), ("single", 2, 1), ("deep ensemble", 0, 2),
    ]  # fmt: skip
    assert {RunFolder(run).settings().lr for team in made for run in team.runs} == {0.1}
    assert [RunFolder(run).settings().seed for run in made[-1].runs] == [0, 1]


def test_a_rate_that_is_not_preferred_may_fail(tmp_path):
    study = family(**{**SMALL, "child_lr": [0.1, 0.05]}, children=2)
    found = run_study(study, tmp_path)
    (team,) = (team for team in teams(found, tmp_path) if team.label == "anti-random")
    preferred = RunFolder(team.runs[0]).settings().lr

    def failed(fails) -> list[Cell]:
        gone = {"failed": "the loss became nan"}
        return [
            replace(cell, result=gone) if cell.label == "anti-random" and fails(cell) else cell for cell in found.cells
        ]

    assert teams(replace(found, cells=failed(lambda cell: cell.lr != preferred)), tmp_path)
    assert left_out(replace(found, cells=failed(lambda cell: cell.lr != preferred))) == []


def test_a_family_of_which_a_run_failed_is_left_out_and_told(grown, tmp_path):
    found, out = grown

    def spoilt(label: str, seed: int) -> Findings:
        gone = {"failed": "the loss became nan"}
        return replace(
            found, cells=[replace(c, result=gone) if (c.label, c.seed) == (label, seed) else c for c in found.cells]
        )

    whole = {(team.label, team.seed) for team in teams(found, out, Extra(deep=2))}
    one = spoilt("anti-random", 1)
    assert {(team.label, team.seed) for team in teams(one, out, Extra(deep=2))} == whole - {("anti-random", 1)}
    assert left_out(one) == ["anti-random, seed 1, is left out: a run failed: the loss became nan"]
    dense = spoilt("dense parent", 1)
    assert {label for label, _ in whole} - {team.label for team in teams(dense, out, Extra(deep=2))} == {
        "deep ensemble"
    }
    assert left_out(found) == []


def test_what_is_missing_is_told_on_the_page(grown, tmp_path):
    shutil.copytree(grown[1], tmp_path / "own")  # what is judged is kept beside a study
    judged = judge_studies([tmp_path / "own"], EnsembleSettings(run=""))
    publish(judged, tmp_path, ["lehr"], EnsembleSettings(run=""), ["random, seed 1, is left out: a run failed"])
    for name in ("ensembles.md", "ensembles.html", "ensembles.json"):
        assert "random, seed 1, is left out: a run failed" in (tmp_path / name).read_text()


def test_seeds_that_do_not_choose_have_no_say_in_what_a_family_is_of(tmp_path):
    """By hand: at 90 % the chosen rate is ahead of 80 % where it is chosen, and at 0 % where it is only run."""
    study = family(**{**SMALL, "child_lr": [0.1, 0.05]}, children=2, seeds=[0, 1], choose_seeds=[0])
    found = run_study(study, tmp_path)
    (lr,) = {cell.lr for cell in found.cells if cell.seed == 1 and cell.label == "anti-random"}

    def judged(cell: Cell) -> Cell:
        accuracy = 0.0 if cell.seed else 0.9 if cell.lr == lr else 0.8
        return replace(cell, result={**cell.result, "validation": {"accuracy": accuracy, "nll": 1.0}})

    made = teams(replace(found, cells=[judged(cell) for cell in found.cells]), tmp_path)
    own = {team.seed: team.runs for team in made if team.label == "anti-random"}
    assert {seed: [RunFolder(run).settings().lr for run in runs] for seed, runs in own.items()} == {
        0: [lr, lr], 1: [lr, lr],
    }  # fmt: skip


def test_cycles_that_prune_are_chosen_together(tmp_path):
    """By hand: 0.1 is ahead after the first cycle and 0.05 over both, so both are run and told at 0.05."""
    scores = {(0.1, 1): 0.9, (0.1, 2): 0.5, (0.05, 1): 0.8, (0.05, 2): 0.7}
    grid = {"row": "pruned", "cycle": 2, "cycle_epochs": 1, "method": "one-shot", "rate": 0.5}
    study = study_of(
        {**CYCLES, "grids": [{**grid, "cycle_lr": [0.1, 0.05]}], "seed": [0, 1], "choose_seeds": 0}, "cycles"
    )
    runs = plan(study)

    def record(run):
        accuracy = scores.get((run.settings.lr, run.member), 0.5)
        judged = {"accuracy": accuracy, "nll": 1.0}
        return {"result": {"validation": judged, "test": judged, "nonzeros": 1}, "metrics": [], "seconds": 1.0}

    cells = cells_of(runs, {run.name: record(run) for run in runs if run.seed == 0}, tmp_path)
    cycles = [run for run in expected(study, runs, cells) if run.kind == "cycle" and run.seed == 1]
    assert [(run.member, run.settings.lr) for run in cycles] == [(1, 0.05), (2, 0.05)]
    rows = [row for row in summarise(cells, [0]) if row.label == "pruned"]
    assert [(row.sparsity, row.lr) for row in rows] == [(0.5, 0.05), (0.75, 0.05)]


def test_families_of_other_seeds_from_one_parent_are_apart(tmp_path):
    found = run_study(family(**SMALL, children=2, child_seed=[5, 6]), tmp_path)
    own = {team.seed: team.runs for team in teams(found, tmp_path) if team.label == "anti-random"}
    assert {seed: len(runs) for seed, runs in own.items()} == {5: 2, 6: 2}
    for runs in own.values():
        first, second = (Mask.load(RunFolder(run).mask) for run in runs)
        assert second == ~first


def test_a_network_in_several_ensembles_is_asked_once_and_then_forgotten(grown, monkeypatch):
    _, out = grown
    asked, left = [], []
    ask, over = judged_module.ask, judged_module._Asking.over
    monkeypatch.setattr(judged_module, "ask", lambda *args, **more: asked.append(1) or ask(*args, **more))

    def told(self, team):
        over(self, team)
        left.append(len(self.known))

    monkeypatch.setattr(judged_module._Asking, "over", told)
    settings = EnsembleSettings(run="")
    made = judge_studies([out], settings, Extra(deep=2, sizes=(2,)))
    assert len(asked) == 2 + 2 * 4, "each parent and each child"
    assert left[-1] == 0
    monkeypatch.undo()
    for team, result in made:
        alone = judge(open_members(team.runs), settings)
        assert result["probabilities"] == pytest.approx(alone["probabilities"]), team.label


def test_studies_that_scale_images_in_two_ways_are_asked_apart(grown, tmp_path):
    _, out = grown
    limited = tmp_path / "limited"
    run_study(family(**{**SMALL, "limit": 300}, children=2), limited)
    settings = EnsembleSettings(run="")
    together, alone = judge_studies([out, limited], settings), judge_studies([limited], settings)
    assert [result for team, result in together if team.study == str(limited)] == [result for _, result in alone]
    for team, result in alone:
        assert result["members"] == judge(open_members(team.runs), settings)["members"]
    runs = [next(team.runs[0] for team, _ in together if team.study == str(study)) for study in (out, limited)]
    with pytest.raises(LehrError, match=r"see digits scaled in two ways: give members with one limit"):
        open_members(runs)


def test_a_study_given_twice_counts_once_and_rows_of_two_studies_are_apart(grown, tmp_path):
    _, out = grown
    once = judge_studies([out], EnsembleSettings(run=""))
    assert judge_studies([out, out], EnsembleSettings(run="")) == once
    run_study(family(**{**SMALL, "child_epochs": 2}, children=2), tmp_path / "other")
    rows = ensemble_rows(judge_studies([out, tmp_path / "other"], EnsembleSettings(run="")))
    assert {row.label for row in rows} >= {"out: anti-random", "other: anti-random"}
    both = judge_studies([out, tmp_path / "other"], EnsembleSettings(run=""), Extra(sizes=(1,)))
    publish(both, tmp_path / "page", ["lehr"], EnsembleSettings(run=""))
    plot = (tmp_path / "page" / "reliability.svg").read_text()
    assert plot.count("out: anti-random") == plot.count("other: anti-random") > 0


def test_studies_of_one_name_are_no_seeds_of_each_other(grown, tmp_path):
    _, out = grown
    shorter = tmp_path / out.name
    run_study(family(**{**SMALL, "child_epochs": 2}, children=2), shorter)
    rows = ensemble_rows(judge_studies([out, shorter], EnsembleSettings(run="")))
    assert {row.label: row.n for row in rows if "anti" in row.label} == {
        f"{folder.parent.name}/{folder.name}: anti-random": n for folder, n in ((out, 2), (shorter, 1))
    }


DEALT = ("one-shot", "gradual", "iterative", "random-annealing", "temperature-annealing", "gradual:target=fixed")
AGAIN = ("rigl", "set", "ac-dc", "stochastic-threshold", "gradual:target=moving", "temperature-annealing:target=moving")


@pytest.mark.parametrize("method", DEALT)
def test_a_pair_stays_a_pair_whatever_it_is_tuned_by(method, tmp_path):
    out = tmp_path / "pair"
    found = run_study(family(**SMALL, children=2, method=method), out)
    (team,) = (team for team in teams(found, out) if len(team.runs) == 2)
    first, second = (Mask.load(RunFolder(run).mask) for run in team.runs)
    assert second == ~first


@pytest.mark.parametrize("method", AGAIN)
@pytest.mark.parametrize("pairs", ["anti-random", "partition", "random"])
def test_what_chooses_weights_again_cannot_keep_a_deal(method, pairs, tmp_path):
    with pytest.raises(LehrError, match=rf"which chooses weights again, and the family {pairs} deals them: choose"):
        run_study(
            family(**SMALL, pairs=pairs, children=2, method=method, **({"sparsity": 0.5} if pairs == "random" else {})),
            tmp_path / "out",
        )
    assert not (tmp_path / "out" / "runs").exists()


def test_a_deal_that_leaves_a_layer_empty_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(LehrError, match=r"part \d+ of 128 has no weight in .*--exclude-module$"):
        run_study(family(**SMALL, pairs="partition", parts=128, children=128, granularity="filter"), tmp_path / "out")
    assert not (tmp_path / "out" / "runs").exists()


def test_a_study_that_was_moved_costs_what_it_did(grown, tmp_path):
    found, out = grown
    (team, *_) = (team for team in teams(found, out) if team.label == "anti-random")
    cost = judge(open_members(team.runs), EnsembleSettings(run=""))["cost"]
    shutil.copytree(out, tmp_path / "moved")
    moved = [str(tmp_path / "moved" / "runs" / RunFolder(run).path.name) for run in team.runs]
    assert judge(open_members(moved), EnsembleSettings(run=""))["cost"] == cost


def test_a_member_without_errors_is_no_trouble(grown):
    found, out = grown
    (team, *_) = (team for team in teams(found, out) if team.label == "anti-random")
    logits, targets = 9.0 * torch.eye(10), torch.arange(10)
    right = [{TEST: Answer(logits[None], targets)}] * len(team.runs)
    result = judge(open_members(team.runs), EnsembleSettings(run=""), answers=right)
    assert result["diversity"]["error_correlation"] is None
    ensemble_rows([(team, result)])


def test_deep_ensembles_are_of_dense_runs_of_other_seeds(grown):
    found, out = grown
    (team,) = (team for team in teams(found, out, Extra(deep=2)) if team.label == "deep ensemble")
    assert [RunFolder(run).settings().seed for run in team.runs] == [0, 1]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"deep": 3}, "deep is 3 and no dense row has as many seeds: train more"),
        ({"deep": 1}, "deep is 1: a deep ensemble has at least 2 networks"),
        ({"swag": 3}, "there are no dense cycles at a constant rate"),
        ({"swag": 0}, "swag is 0: give a number of networks from 1"),
        ({"sizes": (2, 4)}, "sizes has 4 and no family has more members: leave it out"),
        ({"sizes": (0,)}, "sizes has 0: give numbers of members from 1"),
        ({"sizes": (2, 2)}, "sizes has 2 twice: leave one out"),
    ],
)
def test_what_no_study_has_is_one_sentence(grown, asked, message):
    _, out = grown
    with pytest.raises(LehrError, match=message):
        judge_studies([out], EnsembleSettings(run=""), Extra(**asked))


def test_one_of_several_studies_having_the_runs_is_enough(grown, cycled):
    judged = judge_studies([grown[1], cycled[1]], EnsembleSettings(run=""), Extra(deep=2, swag=3))
    assert [team.study for team, _ in judged if team.way] == [str(grown[1]), str(cycled[1])]


def test_ensembles_of_the_first_members_are_rows_of_their_own(grown):
    _, out = grown
    judged = judge_studies([out], EnsembleSettings(run=""), Extra(sizes=(3, 2)))
    assert [(row.label, row.members, row.n) for row in ensemble_rows(judged)] == [
        ("dense parent", 1, 2), ("anti-random", 2, 2), ("anti-random", 3, 2), ("anti-random", 4, 2),
    ]  # fmt: skip
    whole, two = (next(t for t, _ in judged if t.label == "anti-random" and len(t.runs) == n) for n in (4, 2))
    assert two.runs == whole.runs[:2]


def test_the_plot_of_reliability_has_as_many_lines_as_can_be_told_apart():
    def one(label, nll, seed=0, way="", count=1):
        return Team(label, seed, (), way=way), {"probabilities": {"nll": nll}, "reliability": [nll], "count": count}

    judged = [one(str(i), 1.0 - 0.1 * i) for i in range(10)]
    assert best_lines(judged) == {str(i): [1.0 - 0.1 * i] for i in range(2, 10)}
    assert best_lines([one("a", 0.5), one("a", 0.1, seed=1), one("b", 0.2)]) == {"a": [0.5], "b": [0.2]}
    sizes = best_lines([one("a", 0.5, count=4), one("a", 0.6, way="2", count=2), one("b", 0.2)])
    assert sizes == {"a, 4": [0.5], "a, 2": [0.6], "b": [0.2]}


def test_what_was_judged_is_kept_and_told(grown, tmp_path, monkeypatch):
    _, out = grown
    judged = judge_studies([out], EnsembleSettings(run=""), files=tmp_path)
    rows, files = publish(judged, tmp_path, ["lehr"], EnsembleSettings(run=""))
    (row,) = (row for row in rows if row.label == "anti-random")
    assert (row.members, row.n) == (4, 2)
    assert row.mean["bytes"] == pytest.approx((tmp_path / "out-anti-random-0.lehr").stat().st_size, rel=0.01)
    assert row.mean["latency"] > 0
    assert row.mean["latency of many"] > 0
    (dense,) = (row for row in rows if row.label == "dense parent")
    assert dense.mean["bytes"] == pytest.approx(4 * dense.mean["parameters"], rel=0.05)
    assert not (tmp_path / "size.lehr").exists()
    assert "| anti-random | 4 |" in markdown(rows)
    told = json.loads((tmp_path / "ensembles.json").read_text())
    assert [one["label"] for one in told["rows"]] == ["dense parent", "anti-random"]
    page = (tmp_path / "ensembles.html").read_text()
    assert page.count("<svg") == 2
    assert "anti-random" in page
    for name in ("scores", "reliability"):
        assert "<svg" in (tmp_path / files[name].rpartition("/")[2]).read_text()
    monkeypatch.setattr(judged_module, "judge", None)
    monkeypatch.setattr(judged_module, "latency", lambda members, batch: {"ratio": float(batch)})
    (again,) = (
        r for r in ensemble_rows(judge_studies([out], EnsembleSettings(run=""), files=tmp_path)) if r.members > 1
    )
    assert {k: v for k, v in again.mean.items() if k[:7] != "latency"} == {
        k: v for k, v in row.mean.items() if k[:7] != "latency"
    }
    assert (again.mean["latency"], again.mean["latency of many"]) == (1, 32), (
        "timed anew: another hour, another machine"
    )
    (plain,) = (r for r in ensemble_rows(judge_studies([out], EnsembleSettings(run=""))) if r.members > 1)
    assert not {"bytes", "latency"} & set(plain.mean)
    by_child = zip(*(result["members"] for team, result in judged if len(team.runs) > 1), strict=True)
    variances = [(one["accuracy"] - other["accuracy"]) ** 2 / 2 for one, other in by_child]
    assert row.mean["member spread over seeds"] == pytest.approx((sum(variances) / 4) ** 0.5)
    assert "member spread over seeds" not in dense.mean


def test_bytes_and_times_outlive_the_weights_and_are_told(grown, tmp_path, monkeypatch):
    _, grown_out = grown
    out = tmp_path / "out"
    shutil.copytree(grown_out, out, ignore=shutil.ignore_patterns("ensembles"))
    monkeypatch.setattr(judged_module, "latency", lambda members, batch: {"ratio": float(batch)})
    settings = EnsembleSettings(run="")
    plain = judge_studies([out], settings)
    assert measured_before(plain) == []
    team = next(team for team, _ in plain if (team.label, team.seed) == ("anti-random", 0))
    weights = RunFolder(team.runs[2]).model
    weights.rename(tmp_path / "aside")
    with pytest.raises(LehrError, match="weights of .* were not kept"):
        judge_studies([out], settings, files=tmp_path)
    (tmp_path / "aside").rename(weights)
    whole = judge_studies([out], settings, files=tmp_path)
    weights.unlink()
    monkeypatch.setattr(judged_module, "latency", lambda members, batch: {"ratio": 7.0})
    again = dict(judge_studies([out], settings, files=tmp_path))
    assert again == dict(whole), "the time of a row is that of its first seed"
    assert (again[team]["latency"], again[team]["bytes"] > 0) == (1, True)
    assert measured_before(whole) == [
        "anti-random, seed 0, has the bytes and times that were measured while the weights were there"
    ]
    shutil.rmtree(out / "runs")
    assert judge_studies([out], settings, files=tmp_path) == whole
    assert measured_before(whole)[0].startswith("dense parent, seed 0, and 3 more have the bytes")
    assert judge_studies([out], settings) == plain, "they are shown where they are asked for"


def test_rows_are_held_to_another_seed_by_seed(grown):
    _, out = grown
    judged = judge_studies([out], EnsembleSettings(run=""), Extra(sizes=(2,)))
    rows = {(row.label, row.members): row for row in ensemble_rows(judged, "dense parent")}
    nll = {(team.label, len(team.runs), team.seed): result["probabilities"]["nll"] for team, result in judged}
    found = rows["anti-random", 4].against["nll"]
    assert found == paired_difference(
        *([nll[label, n, seed] for seed in (0, 1)] for label, n in (("anti-random", 4), ("dense parent", 1)))
    )
    assert rows["dense parent", 1].against == {}
    assert words(rows["anti-random", 4], [c for c in columns_of(list(rows.values())) if c.heading == "vs NLL"])[2] == (
        f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    )
    assert ensemble_rows(judged, "anti-random, 2")[0].against["nll"].n == 2
    for name in ("anti-random", "ant-random, 2"):
        with pytest.raises(LehrError, match=f"no ensemble '{name}'.*anti-random, 2"):
            ensemble_rows(judged, name)
    with pytest.raises(LehrError, match="no ensemble 'deep'"):
        judge_studies([out], EnsembleSettings(run=""), against="deep")


def test_rows_of_other_seeds_are_held_to_each_other_unpaired(grown):
    _, out = grown
    judged = judge_studies([out], EnsembleSettings(run=""))
    results = [result for team, result in judged if team.label == "anti-random"]
    lone = [(replace(team, seed=team.seed + 1), r) for team, r in judged if team.label == "dense parent"]
    family = [(team, result) for team, result in judged if team.label == "anti-random"]
    (row,) = (row for row in ensemble_rows(lone + family, "dense parent") if row.members > 1)
    of = {key: [r["probabilities"]["nll"] for r in own] for key, own in (("a", results), ("b", [r for _, r in lone]))}
    assert row.against["nll"] == unpaired_difference(of["a"], of["b"]), "of two seeds each one is the other's"
    (row,) = (row for row in ensemble_rows(lone[:1] + family, "dense parent") if row.members > 1)
    assert row.against["nll"].n == 1, "one seed has no spread: the pair is told"
    (row,) = (
        row
        for row in ensemble_rows([(replace(lone[0][0], seed=7), lone[0][1]), *family], "dense parent")
        if row.members > 1
    )
    assert row.against == {}


def test_what_was_judged_of_other_weights_or_is_damaged_is_judged_anew(grown, tmp_path):
    _, out = grown
    shutil.copytree(out, tmp_path / "out")
    settings = EnsembleSettings(run="")
    before = judge_studies([tmp_path / "out"], settings)
    kept = sorted((tmp_path / "out" / "ensembles").glob("*.json"))
    for file, spoilt in zip(kept, ('{"probabilities": 1, "weights": 3}', "[]", "{"), strict=False):
        file.write_text(spoilt)
    assert [result for _, result in judge_studies([tmp_path / "out"], settings)] == [result for _, result in before]
    team = next(team for team, _ in before if team.label == "anti-random")
    folder = RunFolder(team.runs[0])
    zeros = {name: torch.zeros_like(tensor) for name, tensor in folder.weights().items()}
    save_file(zeros, folder.model)
    folder.result_file.write_text(json.dumps({**folder.result(), "weights_digest": weights_digest(zeros)}))
    again = dict(judge_studies([tmp_path / "out"], settings))
    assert again[team]["members"][0] != dict(before)[team]["members"][0]
    shutil.rmtree(folder.path)
    assert dict(judge_studies([tmp_path / "out"], settings))[team] == again[team], "it outlives the run"


def test_what_is_not_done_yet_is_left_out_and_told(grown):
    found, out = grown
    gone = next(cell.path for cell in found.cells if (cell.label, cell.seed) == ("anti-random", 1))
    late = replace(found, cells=[cell for cell in found.cells if cell.path != gone])
    assert {(team.label, team.seed) for team in teams(late, out)} == {
        ("dense parent", 0), ("dense parent", 1), ("anti-random", 0),
    }  # fmt: skip
    assert left_out(late) == ["anti-random, seed 1, is left out: not done yet, go on with the study"]
    none = replace(found, cells=[cell for cell in found.cells if cell.label != "anti-random"])
    assert left_out(none) == ["anti-random, seeds 0, 1, are left out: not done yet, go on with the study"]


def test_a_row_whose_rate_is_not_chosen_yet_is_left_out(tmp_path):
    """As if the runs at the rate that validation will prefer had not ended."""
    found = run_study(family(**{**SMALL, "child_lr": [0.1, 0.0001]}, children=2), tmp_path)
    for lr in (0.1, 0.0001):
        part = replace(found, cells=[cell for cell in found.cells if cell.label == "dense parent" or cell.lr != lr])
        assert [team.label for team in teams(part, tmp_path)] == ["dense parent"]
        assert left_out(part) == ["anti-random, seed 0, is left out: not done yet, go on with the study"]


@pytest.mark.parametrize("pairs", ["anti-random", "random", "magnitude"])
def test_children_of_n_of_m(tmp_path, pairs):
    settings = {**SMALL, "model": "lenet_300_100", "granularity": "2:4", "exclude_modules": [["layers.5"]]}
    found = run_study(family(**settings, pairs=pairs, children=2), tmp_path)
    (team,) = (team for team in teams(found, tmp_path) if team.label == pairs)
    first, second = (Mask.load(RunFolder(run).mask) for run in team.runs)
    assert first.density == second.density == 0.5
    assert {"anti-random": second == ~first, "magnitude": second == first}.get(pairs, True)
    with pytest.raises(LehrError, match="2:4 divides a layer into 2 parts and not into 4: change one"):
        run_study(family(**settings, pairs="partition", parts=4, children=4), tmp_path / "four")


def test_stopped_anywhere_it_goes_on_to_the_same_bits(tmp_path):
    study = family(**SMALL, children=2, method="temperature-annealing")
    run_study(study, tmp_path / "whole")
    assert stopped_often(study, tmp_path / "cut", every=11) > 3
    assert bits(tmp_path / "cut") == bits(tmp_path / "whole")


def test_children_grow_from_a_run_that_is_there_already(tmp_path):
    train(
        TrainSettings(data="digits", model="lenet_300_100", epochs=1, batch_size=64, threads=1, seed=3, keep=("5it",)),
        tmp_path / "dense",
    )
    given = settings_from(tmp_path / "dense")
    study = family(**given, child_epochs=1, children=2)
    adopt(tmp_path / "dense", study, tmp_path / "out")
    before = (tmp_path / "dense" / "model.safetensors").read_bytes()
    found = run_study(study, tmp_path / "out")
    (parent,) = (run for run in found.runs if run.kind == "train")
    there = parent.path(tmp_path / "out")
    assert (there / "model.safetensors").read_bytes() == before
    assert (there / "result.json").read_bytes() == (tmp_path / "dense" / "result.json").read_bytes(), (
        "it was not trained again"
    )
    assert left_behind(study, tmp_path / "out") == left_behind(study, tmp_path / "nowhere") == []
    other = family(**given, child_epochs=2, children=2)
    assert len(left_behind(other, tmp_path / "out")) == 2, "the parent is theirs too"
    shutil.copytree(tmp_path / "dense", tmp_path / "changed")
    changed = RunFolder(tmp_path / "changed")
    weights = {name: tensor + 1 for name, tensor in changed.weights().items()}
    save_file(weights, changed.model)
    changed.result_file.write_text(json.dumps({**changed.result(), "weights_digest": weights_digest(weights)}))
    with pytest.raises(LehrError, match="has a family of .*changed with other weights: give another --out"):
        adopt(tmp_path / "changed", study, tmp_path / "out")
    with pytest.raises(LehrError, match="has other settings than the parent in"):
        adopt(tmp_path / "dense", family(**SMALL, children=2), tmp_path / "other")
    with pytest.raises(LehrError, match="is no finished dense run from its initialisation"):
        settings_from(found.cells[-1].path)


def test_parents_are_trained_as_asked_or_are_the_run_that_is_given(tmp_path):
    data = {"data": "digits", "model": "lenet5"}
    assert parents(None, data, epochs=None, lr=None, seeds=None) == {"epochs": 20, "lr": 0.1, "seeds": range(1)}
    assert parents(None, data, epochs=3, lr=0.2, seeds=2) == {"epochs": 3, "lr": 0.2, "seeds": range(2)}
    with pytest.raises(LehrError, match="nothing says what to grow from: give --from, or --data and --model"):
        parents(None, {"data": "digits"}, epochs=None, lr=None, seeds=None)
    given = {"limit": 100, "threads": 2, "granularity": "filter"}
    with pytest.raises(
        LehrError, match="limit, threads, parent_epochs, seeds is given and the run in here has its own"
    ):
        parents("here", given, epochs=3, lr=None, seeds=2)


def test_children_that_are_not_dealt_have_half_of_the_weights_unless_told():
    def own(**values):
        return {r.settings.sparsity for r in plan(family(**SMALL, children=2, **values)) if r.kind == "child"}

    assert own(pairs="random") == own(pairs="magnitude") == own(pairs="anti-random") == {0.5}
    assert own(pairs="random", sparsity=0.7) == {0.7}
    assert own(pairs="partition", parts=2) == {0.5}
    assert own(pairs="random", granularity="1:4") == {0.75}, "told by the granularity"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"children": 3}, "children is 3 and anti-random makes them by 2: give a multiple of it"),
        ({"children": 4, "pairs": "partition", "parts": 3}, "children is 4 and partition makes them by 3"),
        ({"children": 0}, "children is 0"),
        ({"children": 2, "pairs": "random", "parts": 5}, "parts is 5 and random has none: leave it out"),
        ({"children": 2, "method": "dense"}, "method is dense and a child is a subnetwork"),
        ({"children": 2, "score": "taylor"}, "score is taylor and the family anti-random has no use for it"),
        ({"pairs": "anti"}, "no pairing 'anti': did you mean 'anti-random'"),
        ({"pairs": "random", "children": 2, "sparsity": 0.5, "complement": True}, "complement is of anti-random pairs"),
    ],
)
def test_what_cannot_be_a_family_is_one_sentence(values, message):
    with pytest.raises(LehrError, match=message):
        plan(family(**SMALL, **values))


def test_weights_that_were_not_kept_are_told_unless_all_were_judged(grown, tmp_path):
    _, out = grown
    shutil.copytree(out, tmp_path / "out")
    settings = EnsembleSettings(run="")
    judged = judge_studies([tmp_path / "out"], settings)
    shutil.rmtree(tmp_path / "out" / "runs")
    assert [result for _, result in judge_studies([tmp_path / "out"], settings)] == [result for _, result in judged]
    with pytest.raises(LehrError, match="were not kept: set keep_weights, and run the study again"):
        judge_studies([tmp_path / "out"], EnsembleSettings(run="", temperature=True))
