"""Studies in this process: what fails, what is missing, what is kept."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from lehr import LehrError
from lehr.base.errors import CannotWrite, Interrupted
from lehr.runs import RunFolder
from lehr.study import execute
from lehr.study.board import Workers
from lehr.study.demo import ship
from lehr.study.execute import FAILURE
from lehr.study.folder import begin, read_study_folder
from lehr.study.plan import plan
from lehr.study.publish import publish
from lehr.study.results import FILE, read_results
from lehr.study.run import missing, run_study
from tests.cli.test_bad_input import Shell
from tests.study.small import bits, small, small_file, stamps, table

# A network of the user's own that can be told to fail: for a seed, or where most of it is cut.
NETWORK = """
from pathlib import Path
import torch
from torch import nn

FAULT = Path(__file__).with_name("fault")

class Net(nn.Sequential):
    def forward(self, x):
        if fault() == "cuts" and (self[1].weight == 0).sum() > 400:
            raise RuntimeError("this network\\ncannot bear cuts")
        return super().forward(x)

def fault():
    return FAULT.read_text() if FAULT.exists() else ""

def net():
    if fault() == f"seed {torch.initial_seed()}":
        raise ArithmeticError("no network today")
    return Net(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture
def own(tmp_path) -> Path:
    """The file of that network; one beside it, called fault, says how it fails."""
    file = tmp_path / "own.py"
    file.write_text(NETWORK)
    return file


@pytest.fixture
def lehr(capfd, monkeypatch):
    return Shell(capfd, monkeypatch)


def folders(out: Path) -> set[str]:
    """The runs that have been begun, without the hashes."""
    return {path.name.rpartition("-")[0] for path in (out / "runs").iterdir()}


def places(rows) -> list[tuple[str, float, float, int, int]]:
    return [(row.label, row.sparsity, row.lr, row.n, row.failed) for row in rows]


# -- failures -----------------------------------------------------------------------------------------------


def test_a_run_that_fails_is_recorded_and_tried_again_at_the_next_start(own, tmp_path):
    study = small(model=f"{own}:net", method=["dense", "one-shot"], seed=[0, 1])
    (tmp_path / "fault").write_text("cuts")
    out = tmp_path / "out"
    found = run_study(study, out)
    assert places(found.rows) == [("dense parent", 0.0, 0.1, 2, 0), ("dense, tuned on", 0.0, 0.1, 2, 0)]
    assert [(cell.label, cell.seed) for cell in found.failures] == [("one-shot", 0), ("one-shot", 1)]
    reason = "RuntimeError: this network cannot bear cuts"
    assert {cell.result["failed"] for cell in found.failures} == {reason}, "on one line"
    for cell in found.failures:
        recorded = json.loads((Path(cell.path) / FAILURE).read_text())
        assert recorded["reason"] == reason
        assert recorded["traceback"][0].startswith("Traceback")
        assert any("own.py" in line for line in recorded["traceback"])
    assert {record["final"] for record in read_results(out).values() if record["status"] == "failed"} == {False}
    assert len(missing(study, out)[0]) == 2

    done = stamps(out)
    (tmp_path / "fault").unlink()
    mended = run_study(study, out)
    assert not mended.failures
    assert [row.n for row in mended.rows] == [2, 2, 2]
    assert not list(out.rglob(FAILURE))
    assert {path: stamp for path, stamp in stamps(out).items() if path in done} == done, "the others are not done again"
    run_study(study, tmp_path / "without")
    assert bits(out) == bits(tmp_path / "without"), "as if there had been no trouble"
    assert missing(study, out)[0] == []


def test_children_of_a_run_that_failed_have_it_as_their_reason(own, tmp_path):
    study = small(model=f"{own}:net", method=["one-shot", "gradual"], seed=[0, 1])
    (tmp_path / "fault").write_text("seed 1")
    out = tmp_path / "out"
    found = run_study(study, out)
    assert places(found.rows) == [
        ("dense parent", 0.0, 0.1, 1, 1), ("one-shot", 0.9, 0.1, 1, 1), ("gradual", 0.9, 0.1, 1, 1),
    ]  # fmt: skip
    reasons = {(cell.label, cell.seed): cell.result["failed"] for cell in found.failures}
    own_reason = f"{own}:net cannot be built (ArithmeticError: no network today): mend the factory"
    child = f"the run that it starts from failed: {own_reason}"
    assert reasons == {("dense parent", 1): own_reason, ("one-shot", 1): child, ("gradual", 1): child}

    (tmp_path / "fault").unlink()
    mended = run_study(study, out)
    assert [row.n for row in mended.rows] == [2, 2, 2]


def test_a_parent_that_diverges_fails_its_children_and_stays_failed(tmp_path):
    study = small(lr=[0.1, 1e8], seed=[0, 1])
    found = run_study(study, tmp_path)
    failed = {(cell.sparsity, cell.seed): cell.result["failed"] for cell in found.failures}
    assert failed.keys() == {(0.0, 0), (0.0, 1), (0.9, 0), (0.9, 1)}
    assert all(failed[0.0, seed].startswith("the loss became") for seed in (0, 1))
    assert all(failed[0.9, seed] == f"the run that it starts from failed: {failed[0.0, seed]}" for seed in (0, 1))
    before = stamps(tmp_path)
    assert {run.kind for run in missing(study, tmp_path)[0]} == {"tune"}, "what diverges is not tried again"
    again = run_study(study, tmp_path)
    assert stamps(tmp_path) == before
    assert [cell.result for cell in again.cells] == [cell.result for cell in found.cells]


def test_memory_that_runs_out_is_a_failure_like_any_other(tmp_path, monkeypatch):
    def no_memory(*args: object, **more: object) -> None:
        raise MemoryError

    study = small(method=["one-shot", "gradual"])
    with monkeypatch.context() as patch:
        patch.setattr("lehr.study.kinds.tune", no_memory)
        found = run_study(study, tmp_path)
    assert [cell.result["failed"] for cell in found.failures] == ["MemoryError", "MemoryError"]
    assert "- gradual at 90 % has no row, its run failed: MemoryError\n" in found.markdown()
    assert not run_study(study, tmp_path).failures


def test_what_cannot_begin_is_refused_before_anything_is_trained(tmp_path):
    for wrong, message in (
        ({"method": ["one-shot", "gradual:tau=0.3"]}, "gradual has no tau"),
        (
            {"method": ["one-shot", "gradual"], "anneal": ["0.5", "9ep"]},
            "annealing for 9ep is 171 steps and the run has 19",
        ),
        ({"data": "digit"}, "there is no data set 'digit': did you mean 'digits'"),
        ({"model": "lenet_300"}, "there is no model 'lenet_300'"),
        ({"score": ["magnitude", "magnitud"]}, "there is no score 'magnitud'"),
        ({"granularity": "2:5"}, "2:5 is 0.6 sparse"),
        ({"batch_size": [64, 5000]}, "the batch size is 5000 and digits has 1257"),
        ({"bn_batches": 3}, "bn_batches is 3 and lenet_300_100 has no batch-norm"),
        ({"schedule": "allr"}, "nothing is cut here: use 'llr'"),
        ({"average": 0.9, "method": "gradual"}, "averaging begins at step 2 and annealing ends at step 10"),
        ({"tau": 2, "method": "temperature-annealing"}, "tau is 2"),
        ({"init": "zeroo"}, "there is no initialisation 'zeroo': did you mean 'zero'"),
        (
            {"grids": [{"method": "dense", "smooth": "skips"}, {"method": "one-shot"}]},
            "the network has no convolution to go around",
        ),
    ):
        with pytest.raises(LehrError, match=message):
            run_study(small(**wrong), tmp_path / "out")
        assert not (tmp_path / "out").exists(), wrong


# -- a study that changes -----------------------------------------------------------------------------------


def test_a_study_that_has_grown_trains_only_what_is_new(tmp_path):
    first = run_study(small(method=["one-shot", "gradual"], seed=[0, 1]), tmp_path)
    before = stamps(tmp_path)
    grown = small(method=["one-shot", "gradual"], seed=[0, 1, 2], sparsity=[0.9, 0.5])
    assert [(run.kind, run.seed, run.sparsity) for run in missing(grown, tmp_path)[0]] == [
        ("tune", 0, 0.5), ("tune", 0, 0.5), ("tune", 1, 0.5), ("tune", 1, 0.5),
        ("train", 2, 0.0), ("tune", 2, 0.9), ("tune", 2, 0.9), ("tune", 2, 0.5), ("tune", 2, 0.5),
    ]  # fmt: skip
    found = run_study(grown, tmp_path)
    assert before.items() <= stamps(tmp_path).items()
    assert len(stamps(tmp_path)) == len(before) + 9
    assert [(row.label, row.sparsity, row.n) for row in found.rows] == [
        ("dense parent", 0.0, 3), ("one-shot", 0.5, 3), ("gradual", 0.5, 3), ("one-shot", 0.9, 3), ("gradual", 0.9, 3),
    ]  # fmt: skip
    old = {(cell.label, cell.sparsity, cell.seed): cell.result for cell in first.cells}
    new = {(cell.label, cell.sparsity, cell.seed): cell.result for cell in found.cells}
    assert old.items() <= new.items()


def test_a_study_that_has_shrunk_shows_less_and_forgets_nothing(tmp_path):
    both = small(method=["one-shot", "gradual"])
    whole = run_study(both, tmp_path)
    before = stamps(tmp_path)
    fewer = run_study(small(method="one-shot"), tmp_path)
    assert [row.label for row in fewer.rows] == ["dense parent", "one-shot"]
    assert [row.label for row in read_study_folder(tmp_path).rows] == ["dense parent", "one-shot"]
    assert len(read_results(tmp_path)) == 3
    assert run_study(both, tmp_path).rows == whole.rows
    assert stamps(tmp_path) == before


def test_other_settings_of_a_parent_are_other_runs(tmp_path):
    run_study(small(), tmp_path)
    before = stamps(tmp_path)
    found = run_study(small(epochs=1), tmp_path)
    assert len(stamps(tmp_path)) == 4
    assert before.items() <= stamps(tmp_path).items()
    assert [row.n for row in found.rows] == [1, 1]
    assert [len(cell.metrics) for cell in found.cells] == [1, 1]


def test_runs_are_the_same_wherever_they_are_and_whatever_else_is_asked(tmp_path):
    run_study(small(method="gradual", seed=1), tmp_path / "a")
    run_study(small(method=["one-shot", "gradual"], seed=[0, 1], title="else", against="gradual"), tmp_path / "b" / "c")
    some, every = bits(tmp_path / "a"), bits(tmp_path / "b" / "c")
    assert (len(some), len(every)) == (3 + 4, 2 * 3 + 4 * 4), "a parent has no mask"
    assert some.items() <= every.items()


def test_results_that_were_deleted_are_made_anew_from_the_runs(tmp_path):
    found = run_study(small(seed=[0, 1]), tmp_path)
    before = stamps(tmp_path)
    (tmp_path / FILE).unlink()
    assert read_study_folder(tmp_path).rows == found.rows
    assert run_study(small(seed=[0, 1]), tmp_path).rows == found.rows
    assert (tmp_path / FILE).is_file()
    assert stamps(tmp_path) == before


# -- what is kept -------------------------------------------------------------------------------------------


def test_weights_that_need_not_be_kept_go_as_soon_as_their_run_is_done(tmp_path, monkeypatch):
    plain, held = execute.do, []

    def do(job):
        held.append(len(list(tmp_path.rglob("one-shot*/model.safetensors"))))
        if len(held) == 4:
            raise CannotWrite("the disk is full")
        return plain(job)

    monkeypatch.setattr(execute, "do", do)
    values = {"sparsity": [0.5, 0.7, 0.9], "keep_weights": False}
    with pytest.raises(CannotWrite):
        run_study(small(**values), tmp_path)
    assert held == [0, 0, 0, 0]
    killed = next(path for path in tmp_path.rglob("one-shot*/result.json"))
    (killed.parent / "model.safetensors").write_bytes(b"left by a kill")
    monkeypatch.setattr(execute, "do", plain)
    run_study(small(**values), tmp_path)
    assert not list(tmp_path.rglob("one-shot*/*.safetensors"))


def test_a_network_that_was_found_stays_where_runs_are_gone(tmp_path):
    study = small()
    found = run_study(study, tmp_path)
    publish(found, tmp_path, ["lehr"])
    before = {path.name: path.read_bytes() for path in (tmp_path / "best").iterdir()}
    assert "model.safetensors" in before
    shutil.rmtree(tmp_path / "runs")
    found = run_study(study, tmp_path)
    publish(found, tmp_path, ["lehr"])
    assert {path.name: path.read_bytes() for path in (tmp_path / "best").iterdir()} == before
    with pytest.raises(LehrError, match="no sparse network is left in"):
        ship(found, tmp_path)


def test_a_stop_while_the_last_run_ends_is_not_lost(tmp_path, monkeypatch):
    plain = execute.do

    def do(job):
        state = plain(job)
        if job.run.kind == "tune":
            signal.raise_signal(signal.SIGTERM)
        return state

    monkeypatch.setattr(execute, "do", do)
    with pytest.raises(Interrupted, match="every run has saved its state"):
        run_study(small(tune_lr=[0.1, 0.2], seed=[0, 1], choose_seeds=0), tmp_path)
    assert len(list(tmp_path.rglob("result.json"))) == 2, "the parent and the run that was under way"


def test_without_weights_only_those_of_parents_are_kept(tmp_path):
    values = {"method": ["one-shot", "dense"], "seed": [0, 1]}
    found = run_study(small(**values, keep_weights=False), tmp_path / "out")
    kept = {path.parent.name.rpartition("-")[0] for path in (tmp_path / "out").rglob("*.safetensors")}
    parents = {run.path(tmp_path / "out") for run in found.runs if run.kind == "train"}
    assert kept == {"dense-seed0", "dense-seed1"}
    assert {path.parent for path in (tmp_path / "out").rglob("*.safetensors")} == parents, "the control is no parent"
    usual = run_study(small(**values), tmp_path / "usual")
    assert table(found) == table(usual)
    before = stamps(tmp_path / "out")
    assert run_study(small(**values, keep_weights=False), tmp_path / "out").rows == found.rows
    more = run_study(small(**values, sparsity=[0.9, 0.5], keep_weights=False), tmp_path / "out")
    assert before.items() <= stamps(tmp_path / "out").items()
    assert not list((tmp_path / "out").rglob("one-shot*/*.safetensors"))
    assert [row.n for row in more.rows] == [2, 2, 2, 2]


def test_another_parent_is_trained_again_where_only_its_row_is_left(tmp_path):
    study = small(seed=[0, 1])
    run_study(study, tmp_path)
    before = bits(tmp_path)
    parents = [run.path(tmp_path) for run in plan(study) if run.kind == "train"]
    for path in parents:
        shutil.rmtree(path)
    run_study(study, tmp_path)
    assert not any(path.exists() for path in parents), "no weights are needed"
    run_study(small(seed=[0, 1], sparsity=[0.9, 0.5]), tmp_path)
    assert {name: bits(tmp_path)[name] for name in before} == before


# -- who does it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{"count": 0}, {"count": -1}, {"gpus": -0.5}])
def test_no_workers_at_all_are_refused(values):
    with pytest.raises(LehrError, match="give at least 1|give a share"):
        Workers(**values)


def test_a_run_that_another_process_does_is_waited_for_when_all_else_is_done(tmp_path, monkeypatch):
    study = small(method=["one-shot", "gradual"])
    begin(study, tmp_path)
    _, first, second = plan(study)
    waits = []
    lock = RunFolder(first.path(tmp_path)).locked()
    lock.__enter__()

    def patience(seconds: float) -> None:
        waits.append(sorted(path.parent.name for path in stamps(tmp_path)))
        if len(waits) == 2:
            lock.__exit__(None, None, None)

    monkeypatch.setattr(execute.time, "sleep", patience)
    found = run_study(study, tmp_path)
    assert not found.failures
    assert len(waits) == 2
    assert second.folder in waits[0], "what was free has been done"
    assert first.folder not in waits[1]
    assert first.folder in {Path(cell.path).name for cell in found.cells}


# -- on the command line ------------------------------------------------------------------------------------


def test_run_table_and_report(lehr, tmp_path):
    file = small_file(tmp_path / "mine.yaml", method=["one-shot", "gradual"], seed=[0, 1], title="Mine & yours")
    out = tmp_path / "out"
    code, printed, error = lehr("study", "run", file, "--check", "--out", out)
    assert (code, error) == (0, "")
    assert printed.startswith("Mine & yours: 6 runs: about ")
    assert not out.exists(), "only checked"
    estimate = json.loads(lehr("study", "run", file, "--check", "--json", "--out", out)[1])
    assert estimate["runs"] == 6
    assert estimate["seconds"] > 0
    code, printed, error = lehr("study", "run", file, "--out", out)
    assert (code, error) == (0, "")
    assert "Mine & yours: 6 runs" in printed
    assert {path.name for path in out.iterdir()} == {
        "study.json", "results.parquet", "runs", "table.md", "accuracy.svg", "report.html", "best",
    }  # fmt: skip
    assert "every run is done" in lehr("study", "run", file, "--out", out)[1]
    rows = json.loads(lehr("study", "table", out, "--json")[1])
    assert [(row["label"], row["n"]) for row in rows] == [("dense parent", 2), ("one-shot", 2), ("gradual", 2)]
    assert lehr("study", "table", out, "--format", "markdown")[1] == (out / "table.md").read_text()
    assert r"\toprule" in lehr("study", "table", out, "--format", "latex")[1]
    assert lehr("study", "table", out, "--format", "csv")[1].startswith("label,sparsity,lr,n,accuracy,")
    code, printed, _ = lehr("study", "report", out, "--out", tmp_path / "page.html")
    assert (code, printed) == (0, f"{tmp_path / 'page.html'}\n")
    assert "Mine &amp; yours" in (tmp_path / "page.html").read_text()


def test_a_study_of_which_nothing_sparse_is_left(lehr, tmp_path):
    file = small_file(tmp_path / "mine.yaml", tune_lr=1e8)
    code, printed, error = lehr("study", "run", file, "--out", tmp_path / "out")
    assert (code, error) == (0, "")
    assert "failed: " in printed


def test_failures_are_told_at_the_end(lehr, own, tmp_path):
    (tmp_path / "fault").write_text("cuts")
    values = {"method": ["one-shot", "gradual", "iterative"], "sparsity": [0.5, 0.9], "seed": [0, 1]}
    file = small_file(tmp_path / "mine.yaml", model=f"{own}:net", **values)
    code, printed, error = lehr("study", "run", file, "--out", tmp_path / "out")
    assert (code, error) == (0, "")
    lines = [line for line in printed.splitlines() if line.startswith("failed: ")]
    assert len(lines) == 6, "five, and how many more"
    assert all("RuntimeError: this network cannot bear cuts" in line for line in lines[:5])
    assert lines[5] == "failed: 1 more, see the report"
    told = json.loads(lehr("study", "run", file, "--out", tmp_path / "out", "--json")[1])
    assert len(told["failures"]) == 6
    assert "one-shot-0.9-seed0" in told["failures"][0]
    assert {row["sparsity"] for row in told["rows"]} == {0.0, 0.5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "no.yaml"), "there is no study no.yaml"),
        (("run", "FILE", "--workers", "0"), "workers is 0"),
        (("run", "FILE", "--out", "FILE"), "is a file: give a folder for the study"),
        (("run", "FILE", "--out", "FULL"), "holds something else than a study"),
        (("table", "nowhere"), "there is no study in nowhere"),
        (("report", "nowhere"), "there is no study in nowhere"),
    ],
)  # fmt: skip
def test_one_sentence_and_exit_code_2(lehr, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    places = {"FILE": small_file(tmp_path / "mine.yaml"), "FULL": tmp_path / "full"}
    code, _, error = lehr("study", *(places.get(word, word) for word in words))
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "runs").exists()
