"""Text: words of a sentence, or characters of a long text, as tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.base.draws import Stream

PAD, UNKNOWN = 0, 1  # the first two tokens of a vocabulary of words


@dataclass(frozen=True)
class Tokens:
    """Leaves tokens as they are; padded sentences are cut where the longest of the batch ends."""

    padded: bool

    def training(self, inputs: Tensor, stream: Stream, start: int) -> Tensor:
        """The tokens, int64 of shape (N, length)."""
        return self.judged(inputs)

    def judged(self, inputs: Tensor) -> Tensor:
        """The same."""
        if not self.padded:
            return inputs
        longest = int((inputs != PAD).sum(1).max()) if len(inputs) else 1
        return inputs[:, : max(1, longest)]


def word_vocabulary(sentences: Iterable[str], at_least: int = 2) -> dict[str, int]:
    """A token for each word that occurs `at_least` times, the most frequent first; 0 pads, 1 is any other word.

    >>> word_vocabulary(["a b a", "b c"])
    {'a': 2, 'b': 3}
    """
    counts = Counter(word for sentence in sentences for word in sentence.lower().split())
    kept = sorted((word for word, n in counts.items() if n >= at_least), key=lambda word: (-counts[word], word))
    return {word: token for token, word in enumerate(kept, start=2)}


def encode_words(sentences: Sequence[str], vocabulary: dict[str, int], length: int) -> Tensor:
    """Tokens, int64 of shape (N, length), padded with 0 and cut at `length`.

    >>> encode_words(["b a x"], {"a": 2, "b": 3}, 5).tolist()
    [[3, 2, 1, 0, 0]]
    """
    tokens = torch.full((len(sentences), length), PAD)
    for row, sentence in enumerate(sentences):
        found = [vocabulary.get(word, UNKNOWN) for word in sentence.lower().split()[:length]]
        tokens[row, : len(found)] = torch.tensor(found, dtype=torch.int64)
    return tokens


def encode_characters(text: str) -> tuple[Tensor, str]:
    """A token for each character, uint8 or int32 of shape (len(text),), and the alphabet in order.

    >>> encode_characters("abba")
    (tensor([0, 1, 1, 0], dtype=torch.uint8), 'ab')
    """
    alphabet = "".join(sorted(set(text)))
    places = {character: token for token, character in enumerate(alphabet)}
    kind = torch.uint8 if len(alphabet) <= 256 else torch.int32
    return torch.tensor([places[character] for character in text], dtype=kind), alphabet
