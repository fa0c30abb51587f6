"""A small transformer encoder for classifying sentences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lehr.models.registry import models
from lehr.models.transformer import Block, begin


class TextEncoder(nn.Module):
    """Tokens (N, length), 0 is padding, to logits (N, num_classes): pre-norm blocks, mean over the words, linear head."""

    def __init__(
        self, width: int, depth: int, heads: int, num_classes: int, vocabulary: int, context: int, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=0)
        self.positions = nn.Embedding(context, width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        begin(self, depth)

    def forward(self, tokens: Tensor) -> Tensor:
        valid = tokens != 0
        valid = valid | ~valid.any(1, keepdim=True)  # an empty sentence looks at its padding
        places = torch.arange(tokens.shape[1], device=tokens.device)
        out = self.drop(self.tokens(tokens) + self.positions(places))
        for block in self.blocks:
            out = block(out, valid)
        weight = valid.unsqueeze(-1).to(out.dtype)
        logits: Tensor = self.head((self.norm(out) * weight).sum(1) / weight.sum(1))
        return logits


@models.register("text_encoder")
def text_encoder(num_classes: int = 2, vocabulary: int = 7206, context: int = 64) -> nn.Module:
    """Width 128, 2 blocks, 4 heads, dropout 0.1.

    >>> sum(p.numel() for p in text_encoder().parameters())
    1327618
    """
    return TextEncoder(128, 2, 4, num_classes, vocabulary, context, 0.1)
