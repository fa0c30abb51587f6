"""Layer-norm, softmax and attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lehr.runtime.checked import ensure
from lehr.runtime.lowering.fuse import Fused
from lehr.runtime.lowering.state import Lowering, rule
from lehr.runtime.lowering.steps import Need, Operation, Place, Step
from lehr.runtime.lowering.weights import vector


@rule("layer_norm")
def _layer_norm(low: Lowering, one: Fused) -> None:
    name, told = one.inputs[0], one.node.attributes
    channels = low.values[name].channels
    ensure(low.form[name] != "image", "a layer-norm over the channels of an image")
    usual = {"weight": np.ones(channels, dtype=np.float32), "bias": np.zeros(channels, dtype=np.float32)}
    affine = {key: vector(low.tensors, told[key], channels) if key in told else usual[key] for key in usual}
    _by_line(low, one, "layer_norm", {"epsilon": told["epsilon"], **affine})


@rule("softmax")
def _softmax(low: Lowering, one: Fused) -> None:
    _by_line(low, one, "softmax", {})


def _by_line(low: Lowering, one: Fused, kind: str, more: dict[str, Any]) -> None:
    """What goes over the channels of each pixel; without halos lines follow each other."""
    name = one.inputs[0]
    here = low.values[name]

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        x, y = places[name], places[one.output]
        told = {"in_channel": x.layout.lines, "out_channel": y.layout.lines, "channels": here.channels, **more}
        height, width = here.patch
        if x.layout.lines == y.layout.lines == height * width:  # rows follow each other
            height, width = 1, height * width
        starts = [(x.inside + row * x.layout.row, y.inside + row * y.layout.row) for row in range(height)]
        return [(kind, {**told, "in": first, "out": out, "lines": width}) for first, out in starts]

    layout = here.with_halo((0, 0, 0, 0))
    low.made(one.output, layout, low.form[name], Step(one.output, kind, {name: Need()}, one.output, emit))


@rule("attention")
def _attention(low: Lowering, one: Fused) -> None:
    query, key, value = one.inputs
    told = one.node.attributes
    here = low.values[query]
    heads = told["heads"]
    same = all(low.values[name].same_place == here.same_place for name in (key, value))
    channels = {low.values[name].channels for name in one.inputs}
    fits = same and len(channels) == 1 and heads >= 1 and here.channels % heads == 0
    ensure(fits, "an attention that does not fit")
    ensure(here.samples == 1 and low.form[query] == "tokens", "attention with samples in lanes")

    def emit(places: Mapping[str, Place]) -> list[Operation]:
        q, k, v, y = (places[name] for name in (query, key, value, one.output))
        lines = {place.layout.lines for place in (q, k, v, y)}
        ensure(len(lines) == 1, "an attention beside a convolution")
        order = np.full(q.layout.lines * q.layout.lanes, 2**30, dtype=np.int32)
        order[q.layout.places.reshape(-1)] = np.arange(here.width)
        return [("attention", {
            "query": q.base, "key": k.base, "value": v.base, "out": y.base, "heads": heads, "width": here.channels // heads,
            "channel": q.layout.lines, "scratch": places[f"{one.output}#scratch"].base,
            "places": q.layout.places.reshape(-1).astype(np.int32), "order": order, "causal": told["causal"],
            "scale": told["scale"],
        })]  # fmt: skip

    reads = {name: Need() for name in one.inputs}
    scratch = 2 * low.machine.workers * here.width * 4  # for each chunk of the work
    step = Step(one.output, "attention", reads, one.output, emit, scratch=scratch)
    low.made(one.output, here.with_halo((0, 0, 0, 0)), "tokens", step)
