"""A vision transformer small enough for two cores, for `--model experiments/vit/small.py:vit`."""

from lehr.models.vit import ViT


def vit(num_classes: int, input_shape: tuple[int, ...]) -> ViT:
    """Width 96, 6 blocks, 3 heads, patches of 8: 0.69 M parameters."""
    return ViT(96, 6, 3, num_classes, input_shape, patch=8)
