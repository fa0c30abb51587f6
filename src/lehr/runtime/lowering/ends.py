"""Arrays become activations, and activations arrays."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from lehr.runtime.checked import ensure
from lehr.runtime.lowering.layout import WORDS
from lehr.runtime.lowering.operations import IN, OUT, gather, table, transpose
from lehr.runtime.lowering.state import FORMS, Lowering
from lehr.runtime.lowering.steps import Need, Operation, Place, Step


def enter(low: Lowering, index: int, name: str, shape: tuple[int, ...]) -> None:
    """An input of the network: (C, H, W), (T, C) or (C,)."""
    ensure(1 <= len(shape) <= 3 and min(shape) >= 1, f"an input of shape {shape}")
    form = FORMS[len(shape) - 1]
    channels, height, width = {"features": (shape[0], 1, 1), "tokens": (shape[-1], 1, shape[0]), "image": shape}[form]
    layout = low.usual(channels, height, width)
    between = (1, shape[-1]) if form != "image" else (height * width, 1)  # numbers between channels, and between pixels

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        y = places[name]
        if form != "image" and channels >= WORDS == layout.lanes:
            return [transpose(y, index, out=False)]
        pixel = np.arange(height * width).reshape(1, height, width) * between[1]
        source = pixel + np.arange(layout.samples).reshape(-1, 1, 1) * prod(shape)
        where = table(y.layout, y.layout.places.reshape(-1), source.reshape(-1))
        return [gather(None, y, where, channels, where=IN, array=index, source_channel=between[0])]

    low.made(name, layout, form, Step(name, "input", {}, name, emit))


def leave(low: Lowering, index: int, name: str) -> None:
    """An output of the network."""
    layout, form = low.values[name], low.form[name]

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        x = places[name]
        if form != "image" and layout.channels >= WORDS == layout.lanes:
            return [transpose(x, index, out=True)]
        channel = (np.arange(layout.channels) * x.layout.lines * layout.lanes)[:, None, None]
        source = channel[None] + x.layout.places[:, None]  # samples, channels, height, width
        if form == "tokens":
            source = source.transpose(0, 3, 1, 2)
        return [gather(x, None, source.reshape(-1).astype(np.int32), 1, where=OUT, array=index)]

    low.steps.append(Step(f"{name} (out)", "output", {name: Need()}, "", emit))
