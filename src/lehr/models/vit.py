"""Vision transformer (Dosovitskiy et al. 2020, 2010.11929)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lehr.base.errors import require
from lehr.models.registry import Shape, models
from lehr.models.transformer import Block, begin

LARGE = 64  # images of this side or more are cut in patches of 16, smaller ones in patches of 4


class ViT(nn.Module):
    """Patches, a class token, learned positions, pre-norm blocks, and a linear head on the class token."""

    def __init__(
        self, width: int, depth: int, heads: int, num_classes: int, input_shape: Shape, patch: int | None = None
    ) -> None:
        super().__init__()
        channels, height, wide = input_shape
        patch = patch or (16 if min(height, wide) >= LARGE else 4)
        require(
            height % patch == 0 and wide % patch == 0,
            f"images of {height}x{wide} do not divide into patches of {patch}: use --image-size",
        )
        places = (height // patch) * (wide // patch)
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, places + 1, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        begin(self, depth)
        nn.init.normal_(self.token, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        out = self.patches(x).flatten(2).transpose(1, 2)
        out = torch.cat([self.token.expand(x.shape[0], -1, -1), out], 1) + self.positions
        for block in self.blocks:
            out = block(out)
        logits: Tensor = self.head(self.norm(out[:, 0]))
        return logits


@models.register("vit_tiny")
def vit_tiny(num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> nn.Module:
    """Width 192, 12 blocks, 3 heads (DeiT-Ti, Touvron et al. 2020, 2012.12877): 5,717,416 parameters on ImageNet.

    Images under 64 pixels are cut in patches of 4: 5,362,762 parameters with 10 classes at 32x32.

    >>> sum(p.numel() for p in vit_tiny().parameters())
    5362762
    """
    return ViT(192, 12, 3, num_classes, input_shape)
