"""Small GPTs (Radford et al. 2019), in the sizes that nanoGPT trains on tiny-shakespeare."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lehr.models.registry import models
from lehr.models.transformer import Block, begin


class GPT(nn.Module):
    """Tokens (N, length) to logits (N, length, vocabulary): pre-norm blocks that look back, no biases, tied head."""

    def __init__(self, width: int, depth: int, heads: int, vocabulary: int, context: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, causal=True, bias=False, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        begin(self, depth)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        out = self.drop(self.tokens(tokens) + self.positions(places))
        for block in self.blocks:
            out = block(out)
        logits: Tensor = self.head(self.norm(out))
        return logits


@models.register("gpt_mini")
def gpt_mini(vocabulary: int = 65, context: int = 64) -> nn.Module:
    """Width 128, 4 blocks, 4 heads: nanoGPT's size for a CPU, 0.80 M parameters without positions.

    >>> net = gpt_mini()
    >>> sum(p.numel() for p in net.parameters()) - net.positions.weight.numel()
    795904
    """
    return GPT(128, 4, 4, vocabulary, context)


@models.register("gpt_char")
def gpt_char(vocabulary: int = 65, context: int = 256) -> nn.Module:
    """Width 384, 6 blocks, 6 heads, dropout 0.2: nanoGPT's size for a GPU, 10.65 M parameters without positions."""
    return GPT(384, 6, 6, vocabulary, context, dropout=0.2)
