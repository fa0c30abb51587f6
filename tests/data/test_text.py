"""Words and characters as tokens."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lehr.base.draws import Purpose, Stream
from lehr.data import load
from lehr.data.text import PAD, UNKNOWN, Tokens, encode_characters, encode_words, word_vocabulary

STREAM = Stream(0, "test", Purpose.AUGMENT)
sentences = st.lists(st.lists(st.sampled_from(["a", "b", "C", "dd", "e"]), max_size=8).map(" ".join), max_size=8)


def test_words_that_occur_twice_have_a_token():
    vocabulary = word_vocabulary(["The cat sat", "the dog sat down", "a dog", "once"])
    assert vocabulary == {"dog": 2, "sat": 3, "the": 4}, "by number, then by the alphabet; case does not count"
    assert word_vocabulary(["x y", "x"], at_least=1) == {"x": 2, "y": 3}
    assert word_vocabulary([]) == {}


def test_sentences_are_padded_cut_and_unknown_words_are_one_token():
    vocabulary = {"good": 2, "film": 3}
    tokens = encode_words(["good film", "a GOOD film indeed", "", "film film film film film"], vocabulary, 4)
    assert tokens.tolist() == [[2, 3, 0, 0], [1, 2, 3, 1], [0, 0, 0, 0], [3, 3, 3, 3]]
    assert tokens.dtype == torch.int64
    assert (PAD, UNKNOWN) == (0, 1)
    assert encode_words([], vocabulary, 4).shape == (0, 4)


@given(train=sentences, more=sentences, length=st.integers(1, 10))
def test_tokens_can_be_read_back(train, more, length):
    vocabulary = word_vocabulary(train)
    counts = Counter(word for s in train for word in s.lower().split())
    assert set(vocabulary) == {word for word, n in counts.items() if n >= 2}
    assert sorted(vocabulary.values()) == list(range(2, len(vocabulary) + 2))
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    assert [counts[w] for w in ordered] == sorted((counts[w] for w in ordered), reverse=True)
    words = {token: word for word, token in vocabulary.items()}
    for sentence, row in zip(more, encode_words(more, vocabulary, length).tolist(), strict=True):
        expected = [word if word in vocabulary else None for word in sentence.lower().split()[:length]]
        assert [words.get(token) for token in row[: len(expected)]] == expected
        assert row[len(expected) :] == [PAD] * (length - len(expected))


def test_batches_of_sentences_end_with_the_longest():
    tokens = torch.tensor([[5, 0, 0, 0], [5, 6, 1, 0], [0, 0, 0, 0]])
    assert Tokens(padded=True).judged(tokens).equal(tokens[:, :3])
    assert Tokens(padded=True).training(tokens[:1], STREAM, 0).tolist() == [[5]]
    assert Tokens(padded=True).judged(tokens[2:]).tolist() == [[0]], "an empty sentence keeps a place"
    assert Tokens(padded=True).judged(tokens[:0]).shape == (0, 1)
    assert Tokens(padded=False).judged(tokens).equal(tokens), "a language model has no padding"


def test_characters_by_hand():
    tokens, alphabet = encode_characters("hello\n")
    assert alphabet == "\nehlo"
    assert tokens.tolist() == [2, 1, 3, 3, 4, 0]
    assert encode_characters("")[1] == ""


@given(st.text(max_size=50))
def test_characters_can_be_read_back(text):
    tokens, alphabet = encode_characters(text)
    assert "".join(alphabet[i] for i in tokens.tolist()) == text
    assert list(alphabet) == sorted(set(text))


@pytest.mark.parametrize(("different", "kind"), [(256, torch.uint8), (257, torch.int32)])
def test_large_alphabets_do_not_wrap_around(different, kind):
    text = "".join(chr(0x4E00 + i) for i in range(different))
    tokens, _ = encode_characters(text)
    assert tokens.dtype == kind
    assert tokens.tolist() == list(range(different))


@pytest.mark.data
def test_sst2_is_the_published_split(real_data):
    data = load("sst2")
    assert (len(data.train), len(data.validation), len(data.test)) == (6920, 872, 1821)
    positive = [int(part.targets.sum()) for part in (data.train, data.validation, data.test)]
    assert positive == [3610, 444, 909]
    assert (data.task, data.num_classes, data.input_shape) == ("text-classification", 2, (64,))
    tokens = data.train.inputs
    assert data.vocabulary == int(tokens.max()) + 1
    assert ((tokens != PAD).sum(1) > 0).all()
    assert (tokens == UNKNOWN).any()
    # Words that are rare in training are unknown; no other is.
    seen = tokens[tokens >= 2].bincount(minlength=data.vocabulary)[2:]
    assert (seen[:-1] >= seen[1:]).sum() > 0.99 * len(seen), "the most frequent first, but for what was cut"


@pytest.mark.data
def test_tiny_shakespeare_is_the_published_text(real_data):
    text = (real_data / "tinyshakespeare" / "input.txt").read_text()
    data = load("tiny_shakespeare", context=256)
    parts = (data.train, data.validation, data.test)
    tokens = torch.cat([part.tokens for part in parts])
    assert (len(tokens), data.vocabulary, data.num_classes) == (1_115_394, 65, 65)
    assert [len(part.tokens) for part in parts] == [1_003_854, 55_770, 55_770], "nanoGPT's 90 %, the rest halved"
    alphabet = "".join(sorted(set(text)))
    assert "".join(alphabet[i] for i in tokens[:300].tolist()) == text[:300]
    assert data.input_shape == (256,)
    assert len(load("tiny_shakespeare", 10, context=256).train) == 10
