"""Windows: a long text as examples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lehr import LehrError
from lehr.base.draws import Purpose, Stream
from lehr.data import Batches, Dataset, Windows, evaluation_batches
from lehr.data.text import Tokens


def stream(seed: int, epoch: int) -> Stream:
    return Stream(seed, "shift", Purpose.SHUFFLE, epoch)


def language(tokens: torch.Tensor, length: int) -> Dataset:
    windows = Windows(tokens, length)
    size = int(tokens.max()) + 1
    prepare = Tokens(padded=False)
    return Dataset("made", "language-modelling", windows, windows, windows, size, (length,), prepare, size)


def test_targets_are_the_tokens_one_further_on():
    windows = Windows(torch.arange(23, dtype=torch.uint8), 5)
    assert len(windows) == 3
    part = windows.take(torch.tensor([2, 0]))
    assert part.inputs.tolist() == [[10, 11, 12, 13, 14], [0, 1, 2, 3, 4]]
    assert part.targets.tolist() == [[11, 12, 13, 14, 15], [1, 2, 3, 4, 5]]
    assert part.inputs.dtype == part.targets.dtype == torch.int64, "bytes are not indices of an embedding"


@given(
    length=st.integers(1, 12),
    extra=st.integers(0, 40),
    seed=st.integers(0, 2**31),
    epoch=st.integers(0, 1000),
)
def test_every_epoch_cuts_the_text_elsewhere_and_as_often(length, extra, seed, epoch):
    text = torch.arange(2 * length + extra)
    whole = Windows(text, length)
    cut = whole.shifted(stream(seed, epoch))
    assert len(cut) == len(whole) >= 1
    assert 0 <= cut.start < length
    assert cut == whole.shifted(stream(seed, epoch)), "a pure function of seed and epoch"
    part = cut.take(torch.arange(len(cut)))
    # Consecutive pieces of the text, each token once, and none beyond its end.
    assert part.inputs.reshape(-1).equal(torch.arange(cut.start, cut.start + len(cut) * length))
    assert part.targets.equal(part.inputs + 1)
    assert int(part.targets.max()) < len(text)


def test_shifts_go_over_every_start():
    windows = Windows(torch.arange(100), 7)
    assert {windows.shifted(stream(0, epoch)).start for epoch in range(60)} == set(range(7))
    assert [windows.shifted(stream(0, e)).start for e in range(9)] != [
        windows.shifted(stream(1, e)).start for e in range(9)
    ]


def test_epochs_are_shuffled_windows_of_the_shifted_text():
    data = language(torch.arange(200), 8)
    batches = Batches(data, 4, seed=5)
    assert len(batches) == 24 // 4
    for epoch in (0, 1):
        inputs, targets = (torch.cat(parts) for parts in zip(*batches.epoch(epoch), strict=True))
        start = data.train.shifted(stream(5, epoch)).start
        assert inputs.reshape(-1).sort().values.equal(torch.arange(start, start + 24 * 8))
        assert targets.equal(inputs + 1)
        assert not inputs[:, 0].equal(inputs[:, 0].sort().values), "in an order of its own"
    firsts = [int(next(batches.epoch(epoch))[0][0, 0]) % 8 for epoch in range(20)]
    assert len(set(firsts)) > 3, "another start nearly every epoch"


def test_processes_share_the_windows_of_a_batch():
    data = language(torch.arange(200), 8)
    whole = [x for x, _ in Batches(data, 4, seed=5).epoch(3)]
    halves = [[x for x, _ in Batches(data, 4, seed=5, rank=r, world=2).epoch(3)] for r in (0, 1)]
    for x, a, b in zip(whole, *halves, strict=True):
        assert torch.cat([a, b]).equal(x)


def test_judged_windows_never_move():
    data = language(torch.arange(50), 5)
    inputs = torch.cat([x for x, _ in evaluation_batches(data.test, data)])
    assert inputs.reshape(-1).equal(torch.arange(45))
    assert [len(x) for x, _ in evaluation_batches(data.test, data, 4)] == [4, 4, 1]


def test_the_first_windows_are_a_shorter_text():
    windows = Windows(torch.arange(100), 10).first(3)
    assert len(windows) == 3
    assert all(len(windows.shifted(stream(0, e))) == 3 for e in range(30))
    assert len(Windows(torch.arange(100), 10).first(1000)) == 9


def test_a_text_shorter_than_two_windows_is_refused():
    assert len(Windows(torch.arange(10), 5)) == 1
    with pytest.raises(LehrError, match="a text of 9 tokens is too short for windows of 5: give a longer one"):
        Windows(torch.arange(9), 5)


def test_what_a_network_must_know_of_a_text():
    data = language(torch.arange(50), 5)
    assert data.sizes == {"num_classes": 50, "input_shape": (5,), "vocabulary": 50, "context": 5}
    blank = data.blank(3)
    assert blank.shape == (3, 5)
    assert blank.dtype == torch.int64
