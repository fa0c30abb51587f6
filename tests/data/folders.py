"""Small data sets on disk, in the layouts that people have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def pictures(count: int, *, size: tuple[int, int] = (8, 6), mode: str = "RGB", seed: int = 0) -> list:
    """Random images of (width, height)."""
    from PIL import Image

    noise = np.random.default_rng(seed)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return [Image.fromarray(noise.integers(0, 256, shape, np.uint8)) for _ in range(count)]


def class_folders(folder: Path, classes: Sequence[str] = ("cat", "dog"), count: int = 10, **options) -> Path:
    """A folder of PNG files for each class."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, picture in enumerate(pictures(count, **{"seed": number, **options})):
            picture.save(folder / name / f"{i:03}.png")
    return folder


def parquet(
    folder: Path, part: str, columns: dict[str, list], classes: dict[str, int], image: str | None = None
) -> None:
    """One part as the hub has it; `classes` says which columns are labels, of how many classes."""
    import datasets

    kinds = {name: datasets.ClassLabel(num_classes=n) for name, n in classes.items()}
    if image is not None:
        kinds[image] = datasets.Image()
    other = {name: datasets.Value("string") for name in columns if name not in kinds}
    features = datasets.Features({name: {**kinds, **other}[name] for name in columns})
    folder.mkdir(parents=True, exist_ok=True)
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns, features=features).to_parquet(folder / f"{part}.parquet")
    if shown:
        datasets.enable_progress_bars()
