"""What goes wrong around a run: full disks, closed folders, kills, divergence, damage. Nothing is lost, and it is told."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lehr.recipes.train import train as train_recipe
from lehr.runs import RunFolder, TrainSettings, load_checkpoint
from lehr.runs import folder as folder_module
from tests.cli.test_bad_input import Shell
from tests.cli.test_commands import ENV, LEHR, wait_for

FILES = ("settings.json", "metrics.jsonl", "model.safetensors", "mask.safetensors", "result.json")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """A checkpoint at every step, and the number of threads as it was for the tests after these."""
    monkeypatch.setenv("LEHR_CHECKPOINT_SECONDS", "0")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def lehr(capfd, monkeypatch):
    return Shell(capfd, monkeypatch)


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    """A trained run to start from."""
    folder = tmp_path_factory.mktemp("dense") / "run"
    train_recipe(TrainSettings(data="digits", model="lenet_300_100", epochs=2, batch_size=64, threads=1), folder)
    return folder


def tune(dense: Path, *more: object) -> tuple[object, ...]:
    """A run of 38 steps, the first 19 annealed."""
    words = ("tune", "--from", dense, "--sparsity", "0.9", "--scope", "layer", "--epochs", "2", "--threads", "1")
    return (*words, "--method", "temperature-annealing", "--target", "moving", *more)


@pytest.fixture(scope="module")
def whole(dense, tmp_path_factory) -> dict[str, bytes]:
    """What an undisturbed run leaves."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        from lehr.cli.main import run

        patch.setattr(sys, "argv", ["lehr", *map(str, tune(dense, "--out", folder))])
        with pytest.raises(SystemExit) as end, contextlib.redirect_stdout(io.StringIO()):
            run()
    assert not end.value.code
    torch.set_num_threads(before)
    return bits(folder)


def bits(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def assert_one_sentence(code: int, error: str) -> None:
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1, "one sentence on one line"
    assert "Traceback" not in error


def litter(folder: Path) -> list[str]:
    """Files that a write left half done."""
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def assert_goes_on_to(whole, lehr, words, folder: Path) -> None:
    """Started again with --resume the run ends with the bits of an undisturbed one, and leaves nothing else."""
    code, _, error = lehr(*words, "--resume")
    assert (code, error) == (0, "")
    assert bits(folder) == whole
    assert not litter(folder)
    assert not (folder / "checkpoint.safetensors").exists()


def checkpoint_is_whole(folder: Path) -> dict[str, int]:
    """Where the checkpoint stands; raises if it is damaged."""
    run = RunFolder(folder)
    return dict(load_checkpoint(run.checkpoint, run.settings().digest).position)


# -- full disks and folders that cannot be written ----------------------------------------------------------


def failing_writes(patch: pytest.MonkeyPatch, file: str, turn: int, number: int) -> None:
    """From the `turn`-th time that `file` is written on, half of it arrives and then the system reports an error."""
    count = [0]

    def wrap(original):
        def write(self, content, *args, **kwargs):
            if self.name.startswith(f".{file}."):
                count[0] += 1
                if count[0] >= turn:
                    original(self, content[: len(content) // 2], *args, **kwargs)
                    raise OSError(number, os.strerror(number))
            return original(self, content, *args, **kwargs)

        return write

    patch.setattr(Path, "write_bytes", wrap(Path.write_bytes))
    patch.setattr(Path, "write_text", wrap(Path.write_text))


@pytest.mark.parametrize(
    ("file", "turn", "number"),
    [
        ("settings.json", 1, errno.ENOSPC),
        ("checkpoint.safetensors", 1, errno.ENOSPC),
        ("checkpoint.safetensors", 12, errno.ENOSPC),
        ("checkpoint.safetensors", 30, errno.EACCES),
        ("checkpoint.safetensors", 5, errno.EROFS),
        ("mask.safetensors", 1, errno.ENOSPC),
        ("model.safetensors", 1, errno.ENOSPC),
        ("timing.json", 1, errno.EIO),
        ("result.json", 1, errno.ENOSPC),
    ],
)
def test_a_write_that_fails_is_told_and_the_run_can_go_on(
    lehr, dense, whole, tmp_path, monkeypatch, file, turn, number
):
    out = tmp_path / "run"
    words = tune(dense, "--out", out)
    with monkeypatch.context() as patch:
        failing_writes(patch, file, turn, number)
        code, printed, error = lehr(*words)
    assert_one_sentence(code, error)
    assert printed == ""
    assert f"cannot write {out / file} ({os.strerror(number)})" in error
    assert not litter(out)
    assert not (out / "result.json").exists()
    if file == "checkpoint.safetensors" and turn > 1:
        assert checkpoint_is_whole(out)["step"] == turn - 1, "the former checkpoint is intact"
    assert_goes_on_to(whole, lehr, words, out)


def test_a_line_of_metrics_that_is_cut_short_is_told_and_written_again(lehr, dense, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    words = tune(dense, "--out", out)
    original = Path.open

    def opened(self, mode="r", *args, **kwargs):
        file = original(self, mode, *args, **kwargs)
        if self.name == "metrics.jsonl" and mode == "a":
            file.write('{"epoch": 1, "st')
            file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        code, _, error = lehr(*words)
    assert_one_sentence(code, error)
    assert "metrics.jsonl (No space left on device)" in error
    assert checkpoint_is_whole(out)["step"] == 19
    assert_goes_on_to(whole, lehr, words, out)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A real file system of 700 kB, room for one checkpoint and not for two; only root can make one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "lehr-test", place], capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("NO SMALL DISK: run as root where tmpfs can be mounted to try a disk that is really full")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def test_a_disk_that_is_really_full(lehr, dense, whole, small_disk):
    out = small_disk / "run"
    words = tune(dense, "--out", out)
    code, _, error = lehr(*words)
    assert_one_sentence(code, error)
    assert f"cannot write {out / 'checkpoint.safetensors'} (No space left on device)" in error
    assert checkpoint_is_whole(out)["step"] == 1
    code, _, error = lehr(*words, "--resume")
    assert_one_sentence(code, error)
    assert checkpoint_is_whole(out)["step"] == 1, "trying again in vain loses nothing"
    remount(small_disk, "size=8m")
    assert_goes_on_to(whole, lehr, words, out)


def test_a_disk_that_has_become_read_only(lehr, dense, small_disk, tmp_path):
    remount(small_disk, "size=8m")
    here = small_disk / "dense"
    shutil.copytree(dense, here)
    assert lehr(*tune(here, "--out", small_disk / "done"))[0] == 0
    remount(small_disk, "ro")
    for words in (
        tune(here, "--out", small_disk / "new"),
        tune(here, "--out", small_disk / "done", "--resume"),
        ("prune", "--from", here, "--sparsity", "0.5", "--out", small_disk / "cut"),
        ("train", "--data", "digits", "--model", "lenet5", "--epochs", "1", "--out", small_disk / "other"),
    ):
        code, _, error = lehr(*words)
        assert_one_sentence(code, error)
        assert "Read-only file system" in error
        assert str(words[words.index("--out") + 1]) in error
    assert lehr("show", small_disk / "done")[0] == 0, "reading needs no writing"
    assert lehr("prune", "--from", here, "--sparsity", "0.5", "--out", tmp_path / "cut")[0] == 0


def test_a_limit_on_the_size_of_files(lehr, dense, whole, tmp_path, monkeypatch):
    """As `ulimit -f` sets it: the next checkpoint does not fit, and the one before it stays."""
    out = tmp_path / "run"
    words = tune(dense, "--out", out)
    with monkeypatch.context() as patch:
        stopped_while_writing(patch, "os.fsync", 7, signal.SIGTERM)
        assert lehr(*words)[0] == 130
    former = (out / "checkpoint.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(former) // 2, hard))
    try:
        code, _, error = lehr(*words, "--resume")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_one_sentence(code, error)
    assert "(File too large)" in error
    assert (out / "checkpoint.safetensors").read_bytes() == former
    assert_goes_on_to(whole, lehr, words, out)


@pytest.mark.parametrize("place", ["FILE/below/it", "/sys/lehr", "/proc/lehr"])
def test_a_place_where_nothing_can_be_made(lehr, dense, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    out = place.replace("FILE", str(tmp_path / "file"))
    for words in (
        tune(dense),
        ("prune", "--from", dense, "--sparsity", "0.5"),
        ("train", "--data", "digits", "--model", "lenet5", "--epochs", "1"),
        ("compare", "--data", "digits", "--model", "lenet5", "--epochs", "1", "--tune-epochs", "1"),
        ("demo",),
    ):
        code, printed, error = lehr(*words, "--out", out)
        assert_one_sentence(code, error)
        assert printed == "", words[0]
        assert "cannot write" in error
        assert out in error
    assert (tmp_path / "file").read_text() == "mine"


# -- a folder in use ----------------------------------------------------------------------------------------


def test_a_second_run_is_refused_and_the_first_goes_on_unharmed(lehr, dense, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    words = tune(dense, "--out", out)
    env = {**ENV, "LEHR_CHECKPOINT_SECONDS": "0"}
    first = subprocess.Popen([*LEHR, *map(str, words)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_for(out / "checkpoint.safetensors", first)
        first.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(folder_module, "LOCK_SECONDS", 0.2)
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        for second in (
            words,
            (*words, "--resume"),
            ("prune", "--from", dense, "--sparsity", "0.5", "--out", out),
            ("train", "--data", "digits", "--model", "lenet5", "--out", out),
        ):
            code, _, error = lehr(*second)
            assert_one_sentence(code, error)
            assert f"another process works in {out}" in error
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    finally:
        first.send_signal(signal.SIGCONT)
        _, error = first.communicate(timeout=120)
    assert (first.returncode, error) == (0, b"")
    assert bits(out) == whole


# -- stopped or killed while a file is being written --------------------------------------------------------


def stopped_while_writing(patch: pytest.MonkeyPatch, moment: str, turn: int, number: int) -> None:
    """Send this process a signal in the middle of the `turn`-th writing of a checkpoint."""
    count = [0]

    def wrap(original, name_of):
        def call(*args, **kwargs):
            if name_of(args[0]).startswith(".checkpoint.safetensors."):
                count[0] += 1
                if count[0] == turn:
                    os.kill(os.getpid(), number)
            return original(*args, **kwargs)

        return call

    if moment == "os.fsync":
        opened: dict[int, str] = {}
        plain = os.open

        def noted(path, *args, **kwargs):
            descriptor = plain(path, *args, **kwargs)
            opened[descriptor] = Path(path).name if isinstance(path, (str, Path)) else ""
            return descriptor

        patch.setattr(os, "open", noted)
        patch.setattr(os, "fsync", wrap(os.fsync, lambda descriptor: opened.get(descriptor, "")))
    else:
        patch.setattr(Path, moment, wrap(getattr(Path, moment), lambda path: path.name))


@pytest.mark.parametrize("moment", ["write_bytes", "os.fsync", "replace"])
@pytest.mark.parametrize(("turn", "number"), [(1, signal.SIGTERM), (19, signal.SIGINT)])
def test_asked_to_stop_while_a_checkpoint_is_written(lehr, dense, whole, tmp_path, monkeypatch, moment, turn, number):
    out = tmp_path / "run"
    words = tune(dense, "--out", out)
    with monkeypatch.context() as patch:
        stopped_while_writing(patch, moment, turn, number)
        code, printed, error = lehr(*words)
    assert (code, printed) == (130, "")
    assert "Traceback" not in error
    step = checkpoint_is_whole(out)["step"]
    assert step in (turn, turn + 1), "at once, or at the next step"
    assert error == f"stopped at step {step} of 38; the state is saved: continue with --resume\n"
    assert not litter(out)
    assert_goes_on_to(whole, lehr, words, out)


KILLED_IN_WRITING = """
import os, signal, sys
from pathlib import Path
file, turn = sys.argv[1], int(sys.argv[2])
del sys.argv[1:3]
for kind in ("write_bytes", "write_text"):
    def write(self, content, *args, original=getattr(Path, kind), **kwargs):
        global turn
        if self.name.startswith(f".{file}."):
            turn -= 1
            if turn == 0:
                original(self, content[: len(content) // 2], *args, **kwargs)
                os.kill(os.getpid(), signal.SIGKILL)
        return original(self, content, *args, **kwargs)
    setattr(Path, kind, write)
from lehr.cli.main import run
run()
"""


def killed_while_writing(file: str, turn: int, words: tuple[object, ...]) -> None:
    env = {**ENV, "LEHR_CHECKPOINT_SECONDS": "0"}
    command = [sys.executable, "-c", KILLED_IN_WRITING, file, str(turn), *map(str, words)]
    assert subprocess.run(command, env=env, capture_output=True, timeout=120).returncode == -signal.SIGKILL


def test_killed_half_way_through_a_checkpoint(lehr, dense, whole, tmp_path):
    """The checkpoint before it stands, the run goes on from there, and the half file does not stay for ever."""
    out = tmp_path / "run"
    words = tune(dense, "--out", out)
    killed_while_writing("checkpoint.safetensors", 23, words)
    assert checkpoint_is_whole(out)["step"] == 22
    assert_goes_on_to(whole, lehr, words, out)


def test_killed_half_way_through_the_settings(lehr, dense, whole, tmp_path):
    """The very first file of a run: the folder holds nothing yet, and the same command must be able to begin again."""
    out = tmp_path / "run"
    words = tune(dense, "--out", out)
    killed_while_writing("settings.json", 1, words)
    assert not (out / "settings.json").exists()
    assert_goes_on_to(whole, lehr, words, out)


def test_killed_half_way_through_the_first_file_of_a_comparison(lehr, tmp_path):
    out = tmp_path / "compared"
    words = ("compare", "--data", "digits", "--model", "lenet_300_100", "--sparsity", "0.5", "--methods", "one-shot")
    words += ("--seeds", "1", "--epochs", "1", "--tune-epochs", "1", "--threads", "1", "--out", out)
    out.mkdir()
    (out / ".compare.json.abcdefgh.part").write_text("{")  # what a kill while it is written leaves
    code, _, error = lehr(*words)
    assert (code, error) == (0, "")


# -- divergence ---------------------------------------------------------------------------------------------


def test_a_loss_that_becomes_nan_midway_keeps_what_was_saved(lehr, tmp_path):
    out = tmp_path / "run"
    words = ("train", "--data", "digits", "--model", "lenet_300_100", "--epochs", "4", "--batch-size", "64")
    words += ("--lr", "50", "--threads", "1", "--out", out)
    code, printed, error = lehr(*words)
    assert_one_sentence(code, error)
    assert printed == ""
    step = int(error.partition(" at step ")[2].partition(" of 76 ")[0])
    epoch = int(error.partition("(epoch ")[2].partition(")")[0])
    assert epoch >= 2, "it went well for an epoch"
    assert checkpoint_is_whole(out)["step"] == step, "the last step before it is saved"
    assert [row["epoch"] for row in RunFolder(out).metrics()] == list(range(1, epoch))
    kept = {path.name: path.read_bytes() for path in out.iterdir()}
    assert lehr(*words, "--resume")[0::2] == (code, error), "again the same, at the same step"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == kept
    code, printed, error = lehr("show", out)
    assert (code, error) == (0, "")
    assert f"has not ended after {epoch - 1} epochs" in printed


# -- damage -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(dense, whole, tmp_path_factory) -> Path:
    """A finished run, to be damaged in copies."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    folder.mkdir()
    for name, content in whole.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def stopped(lehr, dense, tmp_path, monkeypatch) -> tuple[tuple[object, ...], Path]:
    """A run that was stopped at about step 25 of 38, and the words to go on with."""
    words = tune(dense, "--out", tmp_path / "stopped")
    with monkeypatch.context() as patch:
        stopped_while_writing(patch, "os.fsync", 25, signal.SIGTERM)
        assert lehr(*words)[0] == 130
    return words, tmp_path / "stopped"


def truncations(content: bytes) -> list[bytes]:
    return [b"", content[:4], content[: len(content) // 2], content[:-1], content + b"\0"]


def flips(content: bytes, count: int, first: int, last: int) -> Iterator[bytes]:
    """Copies with one bit flipped, at places spread from `first` to `last`."""
    for i in range(count):
        damaged = bytearray(content)
        damaged[first + i * (last - first) // count] ^= 1 << (3 * i) % 8
        yield bytes(damaged)


def header_size(content: bytes) -> int:
    """Bytes before the tensors of a safetensors file."""
    return 8 + struct.unpack("<Q", content[:8])[0]


def assert_told_or_fine(shown: tuple[int, str, str]) -> None:
    code, _, error = shown
    if code or error:
        assert_one_sentence(code, error)


@pytest.mark.parametrize("file", FILES)
def test_showing_a_run_with_any_damaged_file_is_a_result_or_a_sentence(lehr, finished, tmp_path, file):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    content = (run / file).read_bytes()
    last = header_size(content) if file.endswith(".safetensors") else len(content)
    for damaged in (*truncations(content), *flips(content, 40, 0, last)):
        (run / file).write_bytes(damaged)
        assert_told_or_fine(lehr("show", run))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("result.json", b"[]"),
        ("result.json", b"{}"),
        ("result.json", b'{"validation": 3}'),
        ("result.json", b'{"failed": null}'),
        ("result.json", b"\xff\xfe"),
        ("settings.json", b"null"),
        ("settings.json", b"\xff\xfe"),
        ("metrics.jsonl", b"\xff\xfe\n"),
        ("metrics.jsonl", b"3\n"),
        ("mask.safetensors", b""),
    ],
)
def test_a_file_of_another_form_is_a_result_or_a_sentence(lehr, dense, finished, tmp_path, file, content):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / file).write_bytes(content)
    assert_told_or_fine(lehr("show", run))
    assert_told_or_fine(lehr(*tune(dense, "--out", run, "--resume")))


@pytest.mark.parametrize("file", ["model.safetensors", "settings.json"])
def test_a_damaged_parent_is_told(lehr, dense, tmp_path, file):
    parent = tmp_path / "parent"
    shutil.copytree(dense, parent)
    content = (parent / file).read_bytes()
    last = header_size(content) if file.endswith(".safetensors") else len(content)
    cut = ("prune", "--from", parent, "--sparsity", "0.5")
    for i, damaged in enumerate(truncations(content)):
        if file == "settings.json" and damaged == content[:-1]:
            continue  # the last byte is the end of a line
        (parent / file).write_bytes(damaged)
        assert_one_sentence(*lehr(*cut, "--out", tmp_path / f"cut{i}")[0::2])
    for i, damaged in enumerate(flips(content, 12, 0, last)):
        (parent / file).write_bytes(damaged)
        assert_told_or_fine(lehr(*cut, "--out", tmp_path / f"flipped{i}"))


def test_a_flipped_bit_in_the_parents_weights_is_told(lehr, dense, tmp_path):
    parent = tmp_path / "parent"
    shutil.copytree(dense, parent)
    content = bytearray((parent / "model.safetensors").read_bytes())
    content[-1001] ^= 64  # in the tensors, not in the header
    (parent / "model.safetensors").write_bytes(content)
    code, _, error = lehr("prune", "--from", parent, "--sparsity", "0.5", "--out", tmp_path / "cut")
    assert_one_sentence(code, error)
    assert "model.safetensors" in error


def test_a_flipped_bit_in_a_mask_is_told(lehr, finished, tmp_path):
    file = tmp_path / "mask.safetensors"
    content = bytearray((finished / "mask.safetensors").read_bytes())
    content[-1001] ^= 64
    file.write_bytes(content)
    code, _, error = lehr("show", file)
    assert_one_sentence(code, error)
    assert "mask.safetensors" in error


def test_a_damaged_checkpoint_is_told_whatever_byte_it_is(lehr, whole, stopped):
    words, run = stopped
    file = run / "checkpoint.safetensors"
    good = file.read_bytes()
    header = header_size(good)
    for damaged in (*truncations(good), *flips(good, 40, 0, header), *flips(good, 10, header, len(good))):
        file.write_bytes(damaged)
        code, _, error = lehr(*words, "--resume")
        assert_one_sentence(code, error)
        assert file.read_bytes() == damaged, "it is left for whoever wants to look"
    file.write_bytes(good)
    assert_goes_on_to(whole, lehr, words, run)


@pytest.mark.parametrize("number", ["step", "batch", "lines", "seen"])
def test_a_wrong_number_in_a_checkpoint_is_told(lehr, stopped, number):
    """One bit makes another digit of it: going on from there would give other results without a word."""
    words, run = stopped
    file = run / "checkpoint.safetensors"
    content = bytearray(file.read_bytes())
    digits = re.search(rb'\b%s\\+": \d+' % number.encode(), content)
    assert digits is not None
    content[digits.end() - 1] ^= 1
    file.write_bytes(content)
    code, _, error = lehr(*words, "--resume")
    assert_one_sentence(code, error)
    assert "checkpoint.safetensors" in error


# -- many kills ---------------------------------------------------------------------------------------------

STORMS = {
    "gradual": ("--method", "gradual"),
    "temperature-annealing, moving": ("--method", "temperature-annealing", "--target", "moving"),
}


@pytest.mark.long
@pytest.mark.parametrize("way", STORMS)
def test_twenty_kills_of_one_tuning_run(dense, tmp_path, way):
    """Before the first step and after many, at random moments; then the same bytes as a run left alone."""
    env = {**ENV, "LEHR_CHECKPOINT_SECONDS": "0"}
    words = tuple(map(str, (*LEHR, *tune(dense), *STORMS[way], "--epochs", "60")))
    moments = random.Random(way)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run([*words, "--out", whole], env=env, capture_output=True, check=True, timeout=200)
    steps = []
    for kill in range(20):
        awaited = cut / ("lock" if kill % 3 == 0 else "checkpoint.safetensors")
        former = changed(awaited)
        process = subprocess.Popen([*words, "--out", cut, "--resume"], env=env, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while changed(awaited) == former:
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, 0.3))
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
        process.wait()
        if (cut / "checkpoint.safetensors").exists():
            steps.append(checkpoint_is_whole(cut)["step"])
    assert steps == sorted(steps), "it never went back"
    assert len(set(steps)) >= 10, "most kills hit a run that had come further"
    done = subprocess.run([*words, "--out", cut, "--resume"], env=env, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    assert bits(cut) == bits(whole)
    assert not litter(cut)


def changed(file: Path) -> int | None:
    """When a file was last written, in nanoseconds; None while there is none."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None
