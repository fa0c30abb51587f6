"""Parts of transformers (Vaswani et al. 2017, 1706.03762): attention, the block around it, and how both begin."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Scaled dot-product attention with `heads` heads; x and the result have shape (N, length, width).

    `valid`, bool of shape (N, length), says which places may be looked at.

    >>> import torch
    >>> Attention(8, 2)(torch.zeros(1, 3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, width: int, heads: int, *, causal: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        count, length, width = x.shape
        q, k, v = self.qkv(x).reshape(count, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mask = None if valid is None else valid[:, None, None, :]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        mixed: Tensor = self.proj(out.transpose(1, 2).reshape(count, length, width))
        return mixed


class Block(nn.Module):
    """Pre-norm: attention, then two layers with GELU and four times the width, each around a shortcut."""

    def __init__(
        self, width: int, heads: int, *, causal: bool = False, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, bias=bias)
        self.attention = Attention(width, heads, causal=causal, bias=bias)
        self.norm2 = nn.LayerNorm(width, bias=bias)
        self.up = nn.Linear(width, 4 * width, bias=bias)
        self.down = nn.Linear(4 * width, width, bias=bias)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        x = x + self.drop(self.attention(self.norm1(x), valid))
        out: Tensor = x + self.drop(self.down(F.gelu(self.up(self.norm2(x)))))
        return out


def begin(model: nn.Module, blocks: int) -> None:
    """GPT-2's initialisation: N(0, 0.02), and 0.02 / sqrt(2 blocks) for what is added to the stream; biases 0."""
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            added = name.endswith((".attention.proj", ".down"))
            nn.init.normal_(module.weight, std=0.02 / (2 * blocks) ** 0.5 if added else 0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
