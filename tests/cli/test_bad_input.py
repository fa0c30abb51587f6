"""The table of bad input: one clear sentence, exit code 2, nothing lost."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from lehr.cli.main import run as main


class Shell:
    """Runs the command line in this process."""

    def __init__(self, capfd, monkeypatch) -> None:
        self.capfd, self.monkeypatch = capfd, monkeypatch

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["lehr", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out = self.capfd.readouterr()
        return code, out.out, out.err


@pytest.fixture
def lehr(capfd, monkeypatch):
    return Shell(capfd, monkeypatch)


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    """A trained run to start from."""
    from lehr.recipes.train import train
    from lehr.runs import TrainSettings

    folder = tmp_path_factory.mktemp("dense") / "run"
    train(TrainSettings(data="digits", model="lenet_300_100", epochs=3, batch_size=64), folder)
    return folder


TRAIN = ("train", "--data", "digits", "--model", "lenet_300_100", "--epochs", "1")
TUNE = ("tune", "--from", "DENSE", "--sparsity", "0.9", "--epochs", "1")
COMPARE = ("compare", "--data", "digits", "--model", "lenet_300_100", "--epochs", "1", "--tune-epochs", "1")
PIPELINE = (
    "pipeline",
    "--data",
    "digits",
    "--model",
    "lenet_300_100",
    "--sparsity",
    "0.9",
    "--epochs",
    "1",
    "--tune-epochs",
    "1",
)
GROW = ("ensemble", "grow", "--data", "digits", "--model", "lenet_300_100", "--epochs", "1", "--parent-epochs", "1")
TICKET = ("ticket", "--data", "digits", "--model", "lenet_300_100", "--epochs", "1")

TABLE = {
    # unknown names, with the nearest
    "data": (("train", "--data", "digit", "--model", "lenet5"), "no data set 'digit': did you mean 'digits'"),
    "model": (("train", "--data", "digits", "--model", "lenet_5"), "no model 'lenet_5': did you mean 'lenet5'"),
    "model file": (("train", "--data", "digits", "--model", "no.py:f"), "there is no file no.py"),
    "optimizer": ((*TRAIN, "--optimizer", "sdg"), "no optimizer 'sdg': did you mean 'sgd'"),
    "schedule": ((*TRAIN, "--schedule", "onecycle"), "no schedule 'onecycle': did you mean 'one-cycle'"),
    "warm-up": ((*TRAIN, "--warmup", "1ep"), "warmup is 1ep and the schedule one-cycle rises by itself"),
    "drops": ((*TRAIN, "--schedule", "linear", "--drops", "0.9"), "drops is 0.9 and the schedule linear has none"),
    "no workers": ((*TICKET, "--workers", "0"), "workers is 0: give at least 1"),
    "precision": ((*TRAIN, "--precision", "fp16"), "no precision 'fp16': did you mean"),
    "method": ((*TUNE, "--method", "temperatur-annealing"), "did you mean 'temperature-annealing'"),
    "score": ((*TUNE, "--score", "magnitud"), "no score 'magnitud': did you mean 'magnitude'"),
    "scope": ((*TUNE, "--scope", "layers"), "no scope 'layers': did you mean 'layer'"),
    "target": ((*TUNE, "--target", "move"), "no target 'move': did you mean 'moving'"),
    "tau schedule": (
        (*TUNE, "--method", "temperature-annealing", "--tau-schedule", "cos"),
        "no schedule 'cos': did you mean 'cosine'",
    ),
    "compared method": ((*COMPARE, "--methods", "one-shot,gradul"), "no method 'gradul': did you mean 'gradual'"),
    "method option": ((*COMPARE, "--methods", "gradual:taget=fixed"), "no option of a method 'taget'"),
    "method option form": ((*COMPARE, "--methods", "gradual:fixed"), "the option 'fixed' of gradual is not understood"),
    "initialisation": ((*TRAIN, "--init", "zeroes"), "no initialisation 'zeroes': did you mean 'zero'"),
    "pairs": ((*GROW, "--pairs", "antirandom"), "no pairing 'antirandom': did you mean 'anti-random'"),
    "children": ((*GROW, "--children", "3"), "children is 3 and anti-random makes them by 2: give a multiple of it"),
    "complement": ((*GROW, "--complement"), "draws of temperature-annealing with kept weights certain have no complement"),
    "nothing to grow from": (("ensemble", "grow", "--model", "lenet5"), "give --from, or --data and --model"),
    "parent's own": (
        ("ensemble", "grow", "--from", "DENSE", "--batch-size", "32"), "batch_size is given and the run in",
    ),
    "seeds of a parent": (("ensemble", "grow", "--from", "DENSE", "--seeds", "2"), "seeds is given and the run in"),
    "no dense parent": (("ensemble", "grow", "--from", "WEIGHTS"), "is no finished dense run from its initialisation"),
    "no family": (("ensemble", "evaluate", "nowhere"), "there is no study in nowhere"),
    "rewinding step": ((*TICKET, "--branches", "rewind:x"), "the length 'x' is not understood"),
    "stability of nothing": (("stability",), "there is nothing to train: give --data and --model, or the folder of a study"),
    "stability of no study": (("stability", "nowhere"), "out is given and the study in nowhere has its own: leave it out"),
    "rounds of a study that is there": (("stability", "nowhere", "--rounds", "5"), "rounds is given and the study in nowhere has its own: leave it out"),
    "sizes of an ensemble": (("ensemble", "evaluate", "nowhere", "--sizes", "0"), "sizes has 0: give numbers of members from 1"),
    "places on the line": (("stability", *TICKET[1:], "--points", "1"), "points is 1"),
    "batches on the line": (("stability", *TICKET[1:], "--bn-batches", "-1"), "bn_batches is -1"),
    "a step that is the end": ((*TICKET, "--rewind", "9it"), "rewinding to 9it leaves no step of the schedule to train"),
    "a fraction that is the end": ((*TICKET, "--rewind", "1"), "rewinding to 1 leaves no step of the schedule to train"),
    "a branch to the end": ((*TICKET, "--branches", "rewind:9it"), "rewinding to 9it leaves no step of the schedule to train"),
    "one step in two spellings": ((*TICKET, "--branches", "rewind:0it"), "rewind:0it is where the levels go back to anyway"),
    "steps of stability": (("stability", *TICKET[1:], "--rewind", "0,0"), "the steps are 0, 0: name each once"),
    "library of models": (("train", "--data", "digits", "--model", "tim:resnet50"), "no library of models 'tim': did you mean 'timm'"),
    "branch": ((*TICKET, "--branches", "shufle"), "no branch 'shufle': did you mean 'shuffle'"),
    "mode": ((*TICKET, "--mode", "weight"), "no mode 'weight': did you mean 'weights'"),
    "stage": ((*PIPELINE, "--stages", "zero,magnitud"), "no stage of a pipeline 'magnitud': did you mean 'magnitude'"),
    "part of smoothing": ((*TUNE, "--smooth", "label"), "no smooth 'label': did you mean 'labels'"),
    # values out of range
    "rounds": ((*TICKET, "--rounds", "0"), "rounds is 0"),
    "rate": ((*TICKET, "--rate", "1"), "rate is 1"),
    "rewinding past the end": ((*TICKET, "--rewind", "9ep"), "the run is to go from"),
    "rewinding in words": ((*TICKET, "--rewind", "late"), "the length 'late' is not understood"),
    "points": (("connect", "DENSE", "DENSE", "--points", "1"), "points is 1"),
    "no run to connect": (("connect", "DENSE", "nowhere"), "nowhere is not a run"),
    "drop": ((*TUNE, "--method", "rigl", "--drop", "1.5"), "drop is 1.5"),
    "cycles": ((*TUNE, "--method", "ac-dc", "--cycles", "30"), "30 cycles need 59 steps of annealing and there are 10"),
    "pressure on a mask": ((*TRAIN, "--learn-mask", "-1"), "learn_mask is -1"),
    "floor of a mask": ((*TRAIN, "--learn-mask", "1", "--mask-floor", "1"), "mask_floor is 1"),
    "softness": ((*TUNE, "--smooth", "activations", "--softness", "0"), "softness is 0"),
    "label smoothing": ((*TUNE, "--smooth", "labels", "--label-smoothing", "1"), "label_smoothing is 1"),
    "sparsity 90": ((*TUNE[:4], "90"), "sparsity is 90"),
    "sparsity 1": ((*TUNE[:4], "1.0"), "sparsity is 1"),
    "negative sparsity": ((*TUNE[:4], "-0.1"), "sparsity is -0.1"),
    "tau": ((*TUNE, "--method", "temperature-annealing", "--tau", "1.5"), "tau is 1.5"),
    "tau for all": (
        (*TUNE, "--method", "temperature-annealing", "--tau", "0.7", "--all-weights"),
        "tau is 0.7 with all weights stochastic: give at most 0.5",
    ),
    "epochs": ((*TRAIN[:5], "--epochs", "-1"), "epochs is -1"),
    "learning rate": ((*TRAIN, "--lr", "0"), "lr is 0"),
    "learning rate nan": ((*TRAIN, "--lr", "nan"), "lr is nan"),
    "batch size": ((*TRAIN, "--batch-size", "0"), "batch_size is 0"),
    "batch too large": ((*TRAIN, "--batch-size", "5000"), "the batch size is 5000 and digits has 1257"),
    "seed": ((*TRAIN, "--seed", "-1"), "seed is -1"),
    "seeds": ((*COMPARE, "--seeds", "0"), "seeds is"),
    "sparsities": ((*COMPARE, "--sparsity", "0.9;0.98"), "give numbers separated by commas"),
    "a sparsity twice": ((*COMPARE, "--sparsity", "0.9,0.9"), "a value is given twice"),
    "too sparse": ((*TUNE[:4], "0.9999", "--method", "one-shot"), "leaves no weight in"),
    # what does not fit together
    "nothing chooses": ((*PIPELINE, "--stages", "zero,smooth"), "nothing chooses the weights: add magnitude, or mask"),
    "no convolution": ((*TUNE, "--smooth", "skips"), "the network has no convolution to go around: leave skips out"),
    "a mask that never wakes": ((*TRAIN, "--learn-mask", "1", "--mask-warm-up", "5ep"), "mask_warm_up 5ep and mask_ramp 0 are 45 steps and the run has 9"),
    "no mask is learned": ((*TRAIN, "--mask-ramp", "0.5"), "mask_ramp is 0.5 and no mask is learned: give learn_mask"),
    "no mask was learned": ((*TUNE, "--score", "learned-mask"), "has learned no mask: train it with --learn-mask"),
    "nothing is smoothed": ((*TUNE, "--skip", "0.5"), "skip is 0.5 and skips is not smoothed: give smooth, or leave it out"),
    "a mask and an average": ((*TRAIN, "--learn-mask", "1", "--average", "0.5"), "a mask is not averaged: leave one out"),
    "ZerO and weights": ((*TRAIN, "--from", "DENSE", "--init", "zero"), "init is 'zero', and the weights are those of"),
    "smoothing longer than the run": ((*TUNE, "--smooth", "labels", "--smooth-for", "9ep"), "smoothing for 9ep is 171 steps"),
    "filters move with ac-dc": (
        (*TUNE[:4], "0.5", "--scope", "layer", "--method", "set", "--granularity", "filter"),
        "set moves single weights and the mask is of filter: use ac-dc",
    ),
    "annealing longer than the run": (
        (*TUNE, "--anneal", "5ep"),
        "annealing for 5ep is 95 steps and the run has 19: shorten it or add epochs",
    ),
    "annealing steps": ((*TUNE, "--anneal", "20it"), "annealing for 20it is 20 steps and the run has 19"),
    "annealing fraction": ((*TUNE, "--anneal", "1.5"), "the length 1.5 is not a fraction"),
    "annealing words": ((*TUNE, "--anneal", "half"), "the length 'half' is not understood"),
    "erk is by layer": ((*TUNE, "--distribution", "erk"), "use scope='layer'"),
    "option of another method": ((*TUNE, "--method", "gradual", "--tau", "0.3"), "gradual has no tau"),
    "one-shot has no target": ((*TUNE, "--method", "one-shot", "--target", "moving"), "one-shot has no target"),
    "a method twice": ((*COMPARE, "--methods", "gradual,gradual"), "methods lists a value twice"),
    "a rate twice": ((*COMPARE, "--tune-lrs", "0.1,0.1"), "a value is given twice"),
    "row with its own rate": ((*COMPARE, "--methods", "gradual:lr=0.01"), "no option of a method 'lr'"),
    "compared sparsity": ((*COMPARE, "--sparsity", "95"), "sparsity is 95.0: give a fraction in [0, 1), such as 0.95"),
    "compared score": ((*COMPARE, "--score", "magnitud"), "no score 'magnitud'"),
    "compared length": ((*COMPARE, "--anneal", "9ep"), "annealing for 9ep is 81 steps and the run has 9"),
    "compared tau": ((*COMPARE, "--methods", "temperature-annealing:tau=2"), "tau is '2'"),
    "compared rate": ((*COMPARE, "--tune-lrs", "0"), "lr is 0"),
    "jobs": ((*COMPARE, "--methods", "one-shot:tau=0.4"), "one-shot has no tau"),
    "huge seed": ((*TRAIN, "--seed", "99999999999999999999"), "seed is 99999999999999999999"),
    # granularity
    "granularity": ((*TUNE, "--granularity", "filters"), "no granularity 'filters': did you mean 'filter'"),
    "N of M": ((*TUNE[:3], "--granularity", "4:2"), "keeps 4 of every 2 weights: write N:M"),
    "N:M and a sparsity": ((*TUNE, "--granularity", "2:4"), "sparsity is 0.9 and the granularity 2:4 is 0.5 sparse"),
    "blocks that do not divide": (
        (*TUNE, "--granularity", "block:7x1"),
        "block:7x1 does not divide layers.1.weight, which is 300 outputs x 64 inputs: leave it out, exclude_modules=['layers.1'] or --exclude-module layers.1",
    ),
    "no heads": ((*TUNE, "--granularity", "head"), "has no attention heads that can be told"),
    "no sparsity": (TUNE[:3], "sparsity is missing: give a fraction"),
    "unknown module": ((*TUNE, "--exclude-module", "layer.5"), "no module 'layer.5': did you mean 'layers.5'"),
    "compared granularity": ((*COMPARE, "--granularity", "2:5"), "2:5 needs inputs in multiples of 5"),
    # data and networks
    "image folder": (("train", "--data", "no/folder", "--model", "lenet5"), "no folder or file no/folder"),
    "text file": (("train", "--data", "no.txt", "--model", "gpt_mini"), "there is no text file no.txt"),
    "image size": ((*TRAIN, "--image-size", "0"), "image_size is 0"),
    "context of images": ((*TRAIN, "--context", "8"), "context is 8 and digits holds scans: leave it out"),
    "tokens and images": (("train", "--data", "digits", "--model", "gpt_mini"), "gpt_mini reads tokens and the data holds images"),
    "wide residual network": (("train", "--data", "digits", "--model", "wrn_27_2"), "wrn_27_2 has depth 27"),
    "no data": (("train", "--model", "lenet5"), "data is missing: give it a value"),
    "no model": (("train", "--data", "digits"), "model is missing: give it a value"),
    "weights without data": (("tune", "--from", "WEIGHTS", "--sparsity", "0.9"), "is a file of weights, so --data must be given"),
    "no weights": (("tune", "--from", "no.pt", "--sparsity", "0.9"), "there is no file no.pt"),
    "weights of another network": (
        ("tune", "--from", "WEIGHTS", "--data", "digits", "--model", "lenet5", "--sparsity", "0.9"),
        "does not fit the network:",
    ),
    # options for every method
    "distillation": ((*TUNE, "--distill", "2"), "distill is 2"),
    "its temperature": ((*TUNE, "--distill-temperature", "0"), "distill_temperature is 0"),
    "average of all": ((*TUNE, "--average", "1"), "average is 1"),
    "average while annealing": ((*TUNE, "--average", "0.9"), "averaging begins at step 2 and annealing ends at step 10"),
    "statistics": ((*TUNE, "--bn-batches", "-1"), "bn_batches is -1"),
    "tracker": ((*TRAIN, "--tracker", "tensorbord"), "no tracker 'tensorbord': did you mean 'tensorboard'"),
    "no batch-norm": ((*TUNE, "--bn-batches", "5"), "bn_batches is 5 and lenet_300_100 has no batch-norm"),
    "adaptive without a cut": ((*TRAIN, "--schedule", "allr"), "nothing is cut here: use 'llr'"),
    # tools
    "preview of the control": (("preview", "--method", "dense"), "dense is the control and has no path to preview"),
    "nothing to evaluate": (("evaluate",), "give the folder of a run, or --from with a file of weights"),
    "evaluate nowhere": (("evaluate", "nowhere"), "nowhere is not a run"),
    "nothing to export": (("export",), "give the folder of a run, or --from with a file of weights"),
    "export nowhere": (("export", "nowhere"), "nowhere is not a run"),
    "export format": (("export", "DENSE", "--format", "onx"), "no format 'onx': did you mean 'onnx'"),
    "split": (("evaluate", "DENSE", "--split", "train"), "there is no split 'train'"),
    "corruption": (("evaluate", "DENSE", "--corruptions", "fogg"), "no corruption 'fogg': did you mean 'fog'"),
    "severity": (("evaluate", "DENSE", "--corrupted", "--severities", "6"), "severity is 6: give numbers from 1 to 5"),
    "no severity": (("evaluate", "DENSE", "--severities", "nan"), "give whole numbers separated by commas"),
    "corrupted validation": (
        ("evaluate", "DENSE", "--split", "validation", "--corrupted-data", "x"), "are those of the test set",
    ),
    "sensitivity to a score": (("sensitivity", "DENSE", "--score", "magnitud"), "no score 'magnitud': did you mean"),
    "sensitivity to N:M": (
        ("sensitivity", "DENSE", "--granularity", "2:4", "--sparsity", "0.9"), "2:4 is 0.5 sparse by itself",
    ),
    "preview too long": (("preview", "--sparsity", "0.9", "--anneal", "999999it"), "shorten it or add epochs"),
    "average of nothing": ((*TUNE, "--average", "0.01"), "of which that is none: average over more"),
    "adaptive control": ((*TUNE[:3], "--method", "dense", "--schedule", "allr"), "dense cuts nothing: use 'llr'"),
    "compared statistics": ((*COMPARE, "--bn-batches", "5"), "has no batch-norm: leave it out"),
    "half a severity": (("evaluate", "DENSE", "--severities", "1.5"), "give whole numbers separated by commas"),
    "sensitivity": (("sensitivity", "DENSE", "--sparsity", "1.5"), "sparsity is 1.5"),
    "preview": (("preview", "--method", "gradul", "--sparsity", "0.9"), "no method 'gradul': did you mean 'gradual'"),
    "preview of nothing": (("preview",), "sparsity is missing"),
    "recipe": (("run", "no.yaml"), "there is no recipe no.yaml"),
    # files
    "no parent": (("tune", "--from", "nowhere", "--sparsity", "0.9"), "nowhere is not a run"),
    "not a run": (("show", "/"), "/ is not a run: it has no settings.json"),
    "nothing to show": (("show", "nowhere"), "there is no nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_one_sentence_and_exit_code_2(lehr, dense, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    words, message = TABLE[name]
    places = {"DENSE": str(dense), "WEIGHTS": str(dense / "model.safetensors")}
    words = tuple(places.get(word, word) for word in words)
    out = () if words[0] in ("show", "run") else ("--out", str(tmp_path / "out"))
    code, printed, error = lehr(*words, *out)
    assert (code, printed) == (2, "")
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1, "one sentence on one line"
    assert "Traceback" not in error
    left = {p.name for p in (tmp_path / "out").rglob("*") if p.is_file()} if (tmp_path / "out").exists() else set()
    assert not left - {"lock", "compare.json"}, "nothing is begun"


def test_typers_own_complaints_have_the_same_code(lehr):
    assert lehr("trian")[0] == 2
    assert lehr("train", "--data", "digits")[0] == 2
    code, _, error = lehr("tune", "--sparsity", "lots")
    assert code == 2
    assert "Traceback" not in error


def test_folders_in_use_or_of_something_else(lehr, dense, tmp_path):
    code, _, error = lehr(*TRAIN, "--out", dense)
    assert code == 2
    assert "holds a run already: add --resume" in error
    code, _, error = lehr(*TRAIN, "--seed", "5", "--resume", "--out", dense)
    assert code == 2
    assert re.search(r"holds a run with other settings \(.*seed.* differ\)", error)
    (tmp_path / "notes.txt").write_text("mine")
    code, _, error = lehr(*TRAIN, "--out", tmp_path)
    assert code == 2
    assert "holds something else than a run" in error
    code, _, error = lehr(*COMPARE, "--out", tmp_path)
    assert code == 2
    assert "holds something else than a study" in error
    code, _, error = lehr(*TRAIN, "--out", tmp_path / "notes.txt")
    assert code == 2
    assert "is a file: give a folder" in error
    code, _, error = lehr(*TRAIN, "--out", "/proc/lehr")
    assert code == 2
    assert "cannot write /proc/lehr" in error
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_second_process_is_kept_out(lehr, tmp_path, monkeypatch):
    from lehr.runs import RunFolder
    from lehr.runs import folder as folder_module

    monkeypatch.setattr(folder_module, "LOCK_SECONDS", 0.2)
    with RunFolder(tmp_path / "run").locked():
        code, _, error = lehr(*TRAIN, "--out", tmp_path / "run")
    assert code == 2
    assert "another process works in" in error


def test_missing_data_is_told(lehr, tmp_path, monkeypatch):
    monkeypatch.setenv("LEHR_DATA", str(tmp_path))
    code, _, error = lehr("train", "--data", "mnist", "--model", "lenet5", "--out", tmp_path / "run")
    assert code == 2
    assert f"LEHR_DATA is {tmp_path} and has no folder mnist" in error


def test_a_loss_that_is_not_finite_keeps_what_was_saved(lehr, tmp_path):
    code, _, error = lehr(*TRAIN, "--lr", "1e9", "--out", tmp_path / "run")
    assert code == 2
    assert re.search(r"the loss became (nan|inf) at step \d+ of", error)
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["lr"] == 1e9


def test_damaged_files_are_told(lehr, dense, tmp_path):
    import shutil

    for name, content, message in (
        ("model.safetensors", b"junk", "model.safetensors cannot be read"),
        ("settings.json", b"{", "settings.json is damaged"),
        ("settings.json", b'{"kind": "train", "data": "digits"}', "is missing"),
        ("settings.json", b'{"kind": "hack"}', "names no kind of run"),
    ):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(dense, copy)
        (copy / name).write_bytes(content)
        code, _, error = lehr("tune", "--from", copy, "--sparsity", "0.9", "--out", tmp_path / "out")
        assert code == 2
        assert message in error


def test_a_damaged_checkpoint_is_told_and_kept(lehr, dense, tmp_path):
    words = (*TRAIN, "--out", tmp_path / "run")
    assert lehr(*words)[0] == 0
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    code, _, error = lehr(*words, "--resume")
    assert code == 2
    assert "checkpoint.safetensors is damaged" in error
    assert "delete checkpoint.safetensors to start this run over" in error
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_a_tuned_run_is_tuned_further_within_its_mask(lehr, dense, tmp_path):
    from lehr import Mask

    assert lehr("prune", "--from", dense, "--sparsity", "0.5", "--out", tmp_path / "cut")[0] == 0
    words = ("tune", "--from", tmp_path / "cut", "--epochs", "1", "--method", "gradual")
    assert lehr(*words, "--sparsity", "0.8", "--out", tmp_path / "x")[0] == 0
    former, mask = (Mask.load(tmp_path / name / "mask.safetensors") for name in ("cut", "x"))
    assert (mask - former).kept == 0
    code, _, error = lehr(*words, "--sparsity", "0.2", "--out", tmp_path / "y")
    assert code == 2
    assert "sparsity is 0.2 and the run in" in error
    assert "is 0.5 sparse already: ask for more" in error


def test_users_own_networks_that_do_not_fit_are_told(lehr, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def wide(): return nn.Sequential(nn.Flatten(), nn.Linear(100, 10))\n"
        "def few(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
        "def needy(what): return nn.Linear(1, 1)\n"
    )
    for name, message in (
        ("wide", "does not take images of shape (1, 8, 8)"),
        ("few", "gives (2, 3) for 2 images: it must give logits of shape (2, 10)"),
        ("needy", "cannot be built (TypeError"),
    ):
        code, _, error = lehr(
            "train", "--data", "digits", "--model", f"{tmp_path}/mine.py:{name}", "--out", tmp_path / "x"
        )
        assert code == 2
        assert message in error
        assert error.count("\n") == 1


def test_a_run_that_failed_can_be_shown_and_stays_failed(lehr, dense, tmp_path):
    from lehr.runs import RunFolder

    words = ("tune", "--from", dense, "--sparsity", "0.5", "--epochs", "1", "--out", tmp_path / "run")
    assert lehr(*words)[0] == 0
    RunFolder(tmp_path / "run").fail("the loss became nan")
    code, printed, _ = lehr("show", tmp_path / "run")
    assert code == 0
    assert "the loss became nan" in printed
    code, _, error = lehr(*words, "--resume")
    assert code == 2
    assert "the loss became nan" in error


def test_an_interval_that_is_no_number(lehr, tmp_path, monkeypatch):
    monkeypatch.setenv("LEHR_CHECKPOINT_SECONDS", "often")
    code, _, error = lehr(*TRAIN, "--out", tmp_path / "run")
    assert code == 2
    assert "LEHR_CHECKPOINT_SECONDS is 'often'" in error


def test_a_folder_that_is_not_ours_is_left_as_it_was(lehr, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"x")
    code, _, error = lehr(*TRAIN, "--out", tmp_path / "photos")
    assert code == 2
    assert "holds something else than a run" in error
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["cat.png"], "not even a lock is left"


def test_the_control_needs_no_sparsity(lehr, dense, tmp_path):
    code, printed, _ = lehr(
        "tune", "--from", dense, "--method", "dense", "--epochs", "1", "--out", tmp_path / "x", "--json"
    )
    assert code == 0
    assert json.loads(printed)["kept"] == json.loads(printed)["parameters"]


def test_what_was_noticed_is_shown_again(lehr, dense, tmp_path):
    words = ("tune", "--from", dense, "--sparsity", "0.995", "--score", "random", "--scope", "layer", "--method", "one-shot",
             "--epochs", "1")  # fmt: skip
    assert "is about to empty" in lehr(*words, "--out", tmp_path / "thin")[1]
    assert "is about to empty" in lehr("show", tmp_path / "thin")[1]
    assert (
        "its zeros were trained"
        in lehr("train", "--from", tmp_path / "thin", "--epochs", "1", "--out", tmp_path / "d")[1]
    )


def test_names_that_look_like_markup_are_only_names(lehr, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lehr(*TRAIN, "--out", "exp[/x]")[0] == 0
    code, printed, _ = lehr("show", "exp[/x]")
    assert code == 0
    assert "exp[/x]" in printed


def test_averaging_helps_one_shot_too(lehr, dense, tmp_path):
    words = ("tune", "--from", dense, "--sparsity", "0.9", "--method", "one-shot", "--epochs", "2", "--average", "0.75")
    assert lehr(*words, "--out", tmp_path / "x")[0] == 0
