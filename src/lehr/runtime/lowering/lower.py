"""From a graph to operations on an arena: layouts, halos, places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lehr.runtime.arena import allot
from lehr.runtime.checked import ensure
from lehr.runtime.convolution import DENSE, Tiling, Window, convolution
from lehr.runtime.fuse import Fused, fuse
from lehr.runtime.graph import ACTIVATIONS, Graph
from lehr.runtime.layout import LANES, Layout
from lehr.runtime.steps import Emit, Machine, Need, Operation, Place, Step
from lehr.runtime.tensors import Stored
from lehr.runtime.weights import Floats, Rows, affine_of, rows_of, tensor, vector

LARGEST = 2**26  # lines of an arena: 4 GiB


@dataclass(frozen=True)
class Lowered:
    """What a program is built from.

    Args:
        lines: of the arena.
        inputs, outputs: floats of each array for one sample.
        shapes: of one sample of each output.
        constants: floats that are in the arena from the start, with their places.
        operations: in order.
        names: of the step that each operation belongs to.
        steps: as they were planned.
    """

    lines: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    constants: tuple[tuple[int, Floats], ...]
    operations: tuple[Operation, ...]
    names: tuple[str, ...]
    steps: tuple[Step, ...]


def lower(
    graph: Graph, tensors: Mapping[str, Stored], machine: Machine, tilings: Mapping[str, Tiling] | None = None
) -> Lowered:
    """The operations of a network.

    Args:
        graph: what is computed.
        tensors: its weights by name.
        machine: what it is lowered for.
        tilings: how the work of convolutions and linear layers is cut, by the name of their outputs; a guess where missing.

    Raises:
        LehrError: shapes and weights do not fit together.
    """
    return _Lowering(tensors, machine, tilings or {}).all(graph)


class _Lowering:
    def __init__(self, tensors: Mapping[str, Stored], machine: Machine, tilings: Mapping[str, Tiling]) -> None:
        self.tensors, self.machine, self.tilings = tensors, machine, tilings
        self.values: dict[str, Layout] = {}
        self.form: dict[str, str] = {}  # image, tokens or features
        self.steps: list[Step] = []
        self.constants: dict[str, Floats] = {}  # values that are the same for every input, as (lines * 16)

    def all(self, graph: Graph) -> Lowered:
        for index, (name, shape) in enumerate(graph.inputs):
            self._input(index, name, shape)
        for one in fuse(graph):
            getattr(self, f"_{one.node.op}")(one)
        for index, name in enumerate(graph.outputs):
            self._output(index, name)
        self._halos()
        return self._place(graph)

    # -- layouts ------------------------------------------------------------------------------
    def _layout(self, channels: int, height: int, width: int) -> Layout:
        """The usual layout of an activation of this shape."""
        ensure(min(channels, height, width) >= 1, f"an activation of {channels} x {height} x {width}")
        samples = self.machine.samples
        patches = LANES // samples
        down = 1 if height == 1 and width > 1 else 2 ** (patches.bit_length() // 2 - (patches.bit_length() % 2 == 0))
        grid = (down, patches // down)
        return Layout(channels, height, width, samples, grid, (-(-height // grid[0]), -(-width // grid[1])))

    def _made(self, name: str, layout: Layout, form: str, step: Step) -> None:
        self.values[name], self.form[name] = layout, form
        self.steps.append(step)

    def _moved(self, name: str, to: Layout) -> str:
        """The activation in another layout of the same image, which is copied if need be."""
        here = self.values[name]
        if here.same_place == to.same_place:
            return name
        moved = f"{name}@{to.grid[0]}x{to.grid[1]}x{to.patch[0]}x{to.patch[1]}"
        if moved not in self.values:

            def emit(places: Mapping[str, Place]) -> list[Operation]:
                x, y = places[name], places[moved]
                table = np.full(y.layout.lines * LANES, -1, dtype=np.int32)
                table[y.layout.places.reshape(-1)] = x.layout.places.reshape(-1)
                return [_gather(x, y, table, here.channels)]

            step = Step(moved, "move", {name: Need()}, moved, emit)
            self._made(moved, replace(to, channels=here.channels, halo=(0, 0, 0, 0)), self.form[name], step)
        return moved

    def _halos(self) -> None:
        """Every activation gets the widest halo that is asked for."""
        for step in self.steps:
            for name, need in step.reads.items():
                layout = self.values[name]
                halo = tuple(max(pair) for pair in zip(layout.halo, need.halo, strict=True))
                self.values[name] = layout.with_halo((halo[0], halo[1], halo[2], halo[3]))

    def _place(self, graph: Graph) -> Lowered:
        lives: dict[str, tuple[int, int]] = {name: (0, len(self.steps)) for name in self.constants}
        for place, step in enumerate(self.steps):
            if step.writes:
                lives.setdefault(step.writes, (place, place))
            for name in step.reads:
                lives[name] = (lives[name][0], max(place, lives[name][1]))
        sizes = {name: layout.total for name, layout in self.values.items() if name in lives}
        for place, step in enumerate(self.steps):
            if step.scratch:
                sizes[f"{step.name}#scratch"] = step.scratch
                lives[f"{step.name}#scratch"] = (place, place)
        ensure(sum(sizes.values()) < LARGEST, "its activations would need more than 4 GiB")
        base, lines = allot(sizes, lives)
        places = {name: Place(self.values[name], base[name]) for name in self.values if name in base}
        scratch = {name: Place(_SCRATCH, line) for name, line in base.items() if name.endswith("#scratch")}
        operations: list[Operation] = []
        names: list[str] = []
        filled: dict[str, float] = {}
        for step in self.steps:
            for name, need in step.reads.items():
                if any(need.halo) and filled.get(name) != need.fill and name not in self.constants:
                    filled[name] = need.fill
                    if (operation := _border(places[name], need.fill)) is not None:
                        operations.append(operation)
                        names.append(f"{step.name} (border)")
            for operation in step.emit({**places, **scratch}):
                operations.append(operation)
                names.append(step.name)
        shapes = tuple(self._shape(name) for name in graph.outputs)
        if graph.shapes:
            ensure(tuple(map(prod, shapes)) == tuple(map(prod, graph.shapes)), "its outputs are of other sizes")
            shapes = graph.shapes
        return Lowered(
            lines, tuple(prod(shape) for _, shape in graph.inputs), tuple(map(prod, shapes)), shapes,
            tuple((base[name] * LANES, self._constant(name)) for name in self.constants),
            tuple(operations), tuple(names), tuple(self.steps),
        )  # fmt: skip

    def _constant(self, name: str) -> Floats:
        """A constant (channels, height, width) in its layout."""
        layout = self.values[name]
        result = np.zeros((layout.channels, layout.lines * LANES), dtype=np.float32)
        values = self.constants[name].reshape(layout.channels, -1)
        for sample in range(layout.samples):
            result[:, layout.places[sample].reshape(-1)] = values
        return result.reshape(-1)

    def _shape(self, name: str) -> tuple[int, ...]:
        layout, form = self.values[name], self.form[name]
        if form == "image":
            return layout.channels, layout.height, layout.width
        return (layout.width, layout.channels) if form == "tokens" else (layout.channels,)

    # -- in and out ---------------------------------------------------------------------------
    def _input(self, index: int, name: str, shape: tuple[int, ...]) -> None:
        ensure(1 <= len(shape) <= 3 and min(shape) >= 1, f"an input of shape {shape}")
        form = ("features", "tokens", "image")[len(shape) - 1]
        sizes = {"features": (shape[0], 1, 1), "tokens": (shape[-1], 1, shape[0]), "image": shape}[form]
        layout = self._layout(sizes[0], sizes[1], sizes[2])
        steps = (
            (1, shape[-1]) if form != "image" else (sizes[1] * sizes[2], 1)
        )  # floats between channels, and between pixels

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            y = places[name]
            if form != "image" and sizes[0] >= LANES:
                return [_transpose(y, index, out=False)]
            pixel = np.arange(sizes[1] * sizes[2]).reshape(1, sizes[1], sizes[2]) * steps[1]
            source = pixel + np.arange(layout.samples).reshape(-1, 1, 1) * prod(shape)
            table = np.full(y.layout.lines * LANES, -1, dtype=np.int32)
            table[y.layout.places.reshape(-1)] = source.reshape(-1)
            return [_gather(None, y, table, sizes[0], where=1, array=index, source_channel=steps[0])]

        self._made(name, layout, form, Step(name, "input", {}, name, emit))

    def _output(self, index: int, name: str) -> None:
        layout, form = self.values[name], self.form[name]

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            x = places[name]
            if form != "image" and layout.channels >= LANES:
                return [_transpose(x, index, out=True)]
            channel = (np.arange(layout.channels) * x.layout.lines * LANES)[:, None, None]
            table = channel[None] + x.layout.places[:, None]  # samples, channels, height, width
            if form == "tokens":
                table = table.transpose(0, 3, 1, 2)
            operation = _gather(x, None, table.reshape(-1).astype(np.int32), 1, where=2, array=index)
            return [operation]

        self.steps.append(Step(f"{name} (out)", "output", {name: Need()}, "", emit))

    # -- layers -------------------------------------------------------------------------------
    def _conv(self, one: Fused) -> None:
        told = one.node.attributes
        rows = rows_of(one, self.tensors)
        ensure(len(rows.shape) == 4, "a convolution's weight has not four sizes")
        window = Window(rows.shape[2:4], tuple(told["stride"]), tuple(told["padding"]), tuple(told["dilation"]))  # type: ignore[arg-type]
        groups = told["groups"]
        channels = self.values[one.inputs[0]].channels
        fits = groups >= 1 and rows.shape[1] * groups == channels and rows.shape[0] % groups == 0
        ensure(fits and self.form[one.inputs[0]] != "tokens", f"a convolution of {rows.shape} over {channels} channels")
        self._convolve(one, rows, window, groups, "image")

    def _linear(self, one: Fused) -> None:
        rows = rows_of(one, self.tensors)
        ensure(
            len(rows.shape) == 2 and self.values[one.inputs[0]].channels == rows.shape[1], "a linear layer does not fit"
        )
        here, form = self.values[one.inputs[0]], self.form[one.inputs[0]]
        ensure(form != "image" or here.height * here.width == 1, "a linear layer over an image")
        self._convolve(one, rows, Window(), 1, "features" if form == "image" else form)

    def _convolve(self, one: Fused, rows: Rows, window: Window, groups: int, form: str) -> None:
        source = self._windowed(one.node.inputs[0], window)
        here = self.values[source]
        layout = window.output(here, rows.shape[0])
        if one.residual is not None:
            beside = self.values[one.residual]
            ensure((beside.height, beside.width) == (layout.height, layout.width), "a residual of another size")
        residual = None if one.residual is None else self._moved(one.residual, layout)
        if residual is not None:
            other = self.values[residual]
            ensure(other.channels == layout.channels, "a residual of other channels")
        tiling = self.tilings.get(one.output) or _guess(rows, layout, groups, self.machine)

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            r = None if residual is None else places[residual]
            x, y = places[source], places[one.output]
            return [convolution(rows, window, groups, x, y, r, one.activation, tiling, self.machine)]

        reads = {source: Need(window.halo(here))} | ({} if residual is None else {residual: Need()})
        pixels = layout.height * layout.width
        note = {
            "density": rows.density, "weights": prod(rows.shape), "nonzeros": len(rows.values), "pixels": pixels, "tiling": tiling,
            "groups": groups, "kernel": list(window.kernel),
        }  # fmt: skip
        if residual == source:
            reads = {source: Need(window.halo(here))}
        self._made(one.output, layout, form, Step(one.output, one.node.op, reads, one.output, emit, note=note))

    def _windowed(self, name: str, window: Window) -> str:
        """The activation with patches that suit a window."""
        here = self.values[name]
        for axis, size in enumerate((here.height, here.width)):
            ensure(min(window.kernel[axis], window.stride[axis], window.dilation[axis]) >= 1, "a window of size 0")
            ensure(window.size(axis, size) >= 1, "a window larger than its image")
        patch = [
            window.input_patch(axis, here.grid[axis], here.patch[axis], size)
            for axis, size in enumerate((here.height, here.width))
        ]
        return self._moved(name, replace(here, patch=(patch[0], patch[1])))

    def _max_pool(self, one: Fused) -> None:
        self._pool(one, largest=True)

    def _avg_pool(self, one: Fused) -> None:
        self._pool(one, largest=False)

    def _pool(self, one: Fused, *, largest: bool) -> None:
        told = one.node.attributes
        pairs = [tuple(told.get(name, (1, 1))) for name in ("kernel", "stride", "padding", "dilation")]
        window = Window(*pairs)
        source = self._windowed(one.inputs[0], window)
        here = self.values[source]
        layout = window.output(here, here.channels)

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            x, y = places[source], places[one.output]
            first = (x.layout.halo[0] - window.padding[0]) * x.layout.row + x.layout.halo[1] - window.padding[1]
            return [("pool", {
                "in": x.base + first, "out": y.inside, "channels": layout.channels, "height": layout.patch[0],
                "width": layout.patch[1], "in_row": window.stride[0] * x.layout.row, "step": window.stride[1],
                "in_channel": x.layout.lines, "out_channel": y.layout.lines, "out_row": y.layout.row, "largest": largest,
                "scale": 1.0 if largest else 1.0 / prod(window.kernel), "taps": window.taps(x.layout).astype(np.int32),
                "activation": ACTIVATIONS.index(one.activation),
            })]  # fmt: skip

        need = Need(window.halo(here), -np.inf if largest and any(window.padding) else 0.0)
        self._made(one.output, layout, "image", Step(one.output, one.node.op, {source: need}, one.output, emit))

    def _mean(self, one: Fused) -> None:
        """Over all pixels: of images, or of tokens."""
        name = one.inputs[0]
        here = self.values[name]
        layout = self._layout(here.channels, 1, 1)

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            x, y = places[name], places[one.output]
            sample, row, column = x.layout.pixels()
            first, last = x.layout.first, x.layout.first + (x.layout.patch[0] - 1) * x.layout.row + x.layout.patch[1]
            lines = [
                n
                for n in range(first, last)
                if x.layout.halo[1] <= n % x.layout.row < x.layout.halo[1] + x.layout.patch[1]
            ]
            inside = (row[lines] < here.height) & (column[lines] < here.width)
            lanes = y.layout.places[:, 0, 0] % LANES  # of each sample
            return [("mean", {
                "in": x.base, "out": y.inside, "channels": here.channels, "in_channel": x.layout.lines,
                "out_channel": y.layout.lines, "lines": np.array(lines, dtype=np.int32),
                "weights": inside.astype(np.float32).reshape(-1), "groups": lanes[sample[0]].astype(np.int32),
                "scale": 1.0 / (here.height * here.width),
            })]  # fmt: skip

        self._made(one.output, layout, "features", Step(one.output, "mean", {name: Need()}, one.output, emit))

    # -- the same numbers elsewhere -----------------------------------------------------------
    def _flatten(self, one: Fused) -> None:
        """An image as features: channel, row, column."""
        name = one.inputs[0]
        here = self.values[name]
        pixels = here.height * here.width
        layout = self._layout(here.channels * pixels, 1, 1)

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            x, y = places[name], places[one.output]
            table = np.full((pixels, y.layout.lines * LANES), -1, dtype=np.int32)
            table[:, y.layout.places.reshape(-1)] = x.layout.places.reshape(here.samples, pixels).T
            return [_gather(x, y, table.reshape(-1), here.channels, target_channel=table.size)]

        self._made(one.output, layout, "features", Step(one.output, "flatten", {name: Need()}, one.output, emit))

    def _tokens(self, one: Fused) -> None:
        """An image as tokens: its pixels by row and column."""
        here = self.values[one.inputs[0]]
        layout = self._layout(here.channels, 1, here.height * here.width)
        self._remapped(one, layout, "tokens", lambda x, y: (y.places.reshape(-1), x.places.reshape(-1)))

    def _token(self, one: Fused) -> None:
        """One token as features."""
        here, index = self.values[one.inputs[0]], one.node.attributes["index"]
        ensure(self.form[one.inputs[0]] == "tokens" and 0 <= index < here.width, f"there is no token {index}")
        layout = self._layout(here.channels, 1, 1)
        self._remapped(one, layout, "features", lambda x, y: (y.places.reshape(-1), x.places[:, 0, index].reshape(-1)))

    def _remapped(
        self,
        one: Fused,
        layout: Layout,
        form: str,
        pairs: Callable[[Layout, Layout], tuple[NDArray[Any], NDArray[Any]]],
    ) -> None:
        name = one.inputs[0]

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            x, y = places[name], places[one.output]
            to, source = pairs(x.layout, y.layout)
            table = np.full(y.layout.lines * LANES, -1, dtype=np.int32)
            table[to] = source
            return [_gather(x, y, table, layout.channels)]

        self._made(one.output, layout, form, Step(one.output, one.node.op, {name: Need()}, one.output, emit))

    def _prepend(self, one: Fused) -> None:
        """Constant tokens before the others."""
        name, constant = one.inputs[0], one.node.attributes["constant"]
        here = self.values[name]
        values = tensor(self.tensors, constant)
        extra = values.size // here.channels
        ensure(self.form[name] == "tokens" and extra * here.channels == values.size and extra >= 1, "tokens do not fit")
        layout = self._layout(here.channels, 1, here.width + extra)
        self._remapped(
            one, layout, "tokens", lambda x, y: (y.places[:, :, extra:].reshape(-1), x.places.reshape(-1))
        )  # the others; the constant is added on top of the zeros before them
        ensure(layout.total < LARGEST, "its activations would need more than 4 GiB")
        padded = np.zeros((here.width + extra, here.channels), dtype=np.float32)
        padded[:extra] = vector(self.tensors, constant).reshape(extra, here.channels)
        self._plus_constant(one.output, padded.T, f"{one.output}#constant")

    def _plus_constant(self, name: str, values: Floats, constant: str) -> None:
        """Add a constant (channels, pixels) to an activation in place."""
        self.values[constant] = self.values[name].with_halo((0, 0, 0, 0))
        self.constants[constant] = np.ascontiguousarray(values, dtype=np.float32)
        emit = self._pointwise_of(name, constant, name, "none", multiply=False)
        self.steps.append(Step(name, "add_constant", {name: Need(), constant: Need()}, name, emit))

    def _slice(self, one: Fused) -> None:
        """Some of the channels; copied, but for attention, which reads them where they are."""
        name, first, count = one.inputs[0], one.node.attributes["first"], one.node.attributes["channels"]
        here = self.values[name]
        ensure(first >= 0 and 1 <= count <= here.channels - first, "channels that are not there")

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            x, y = places[name], places[one.output]
            table = np.full(y.layout.lines * LANES, -1, dtype=np.int32)
            table[y.layout.places.reshape(-1)] = x.layout.places.reshape(-1)
            kind, values = _gather(x, y, table, count)
            return [(kind, values | {"source": x.floats + first * x.layout.lines * LANES})]

        layout = replace(here, channels=count, halo=(0, 0, 0, 0))
        self._made(one.output, layout, self.form[name], Step(one.output, "slice", {name: Need()}, one.output, emit))

    # -- one by one ---------------------------------------------------------------------------
    def _both(self, one: Fused, *, multiply: bool) -> None:
        first, second = one.inputs
        a, b = self.values[first], self.values[second]
        same = (a.channels, a.height, a.width) == (b.channels, b.height, b.width)
        gate = multiply and (b.height, b.width) == (1, 1) and a.channels == b.channels
        if not same and multiply and (a.height, a.width) == (1, 1) and a.channels == b.channels:
            first, second, a, b, gate = second, first, b, a, True
        ensure(same or gate, "two activations of different shapes")
        if not same:
            second = self._spread(second, a)
        second = self._moved(second, a)
        emit = self._pointwise_of(first, second, one.output, one.activation, multiply=multiply)
        layout = a.with_halo((0, 0, 0, 0))
        step = Step(one.output, one.node.op, {first: Need(), second: Need()}, one.output, emit)
        self._made(one.output, layout, self.form[first], step)

    def _spread(self, name: str, to: Layout) -> str:
        """One number a channel, at every pixel of an image."""
        wide = f"{name}@{to.height}x{to.width}"
        here = self.values[name]

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            x, y = places[name], places[wide]
            table = np.full(y.layout.lines * LANES, -1, dtype=np.int32)
            source = np.broadcast_to(x.layout.places[:, :1, :1], y.layout.places.shape)
            table[y.layout.places.reshape(-1)] = source.reshape(-1)
            return [_gather(x, y, table, here.channels)]

        layout = replace(to, channels=here.channels, halo=(0, 0, 0, 0))
        self._made(wide, layout, "image", Step(wide, "spread", {name: Need()}, wide, emit))
        return wide

    def _add(self, one: Fused) -> None:
        self._both(one, multiply=False)

    def _multiply(self, one: Fused) -> None:
        self._both(one, multiply=True)

    def _pointwise_of(
        self, first: str, second: str | None, output: str, activation: str, *, multiply: bool,
        scale: Floats | None = None, shift: Floats | None = None,
    ) -> Emit:  # fmt: skip
        empty = np.zeros(0, dtype=np.float32)

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            x, y = places[first], places[output]
            z = None if second is None else places[second]
            return [("pointwise", {
                "in": x.inside, "other": -1 if z is None else z.inside, "out": y.inside, "channels": y.layout.channels,
                "in_channel": x.layout.lines, "other_channel": 0 if z is None else z.layout.lines,
                "out_channel": y.layout.lines, "height": y.layout.patch[0], "width": y.layout.patch[1],
                "in_row": x.layout.row, "other_row": 0 if z is None else z.layout.row, "out_row": y.layout.row,
                "multiply": multiply, "activation": ACTIVATIONS.index(activation),
                "scale": empty if scale is None else scale, "shift": empty if shift is None else shift,
            })]  # fmt: skip

        return emit

    def _activation(self, one: Fused) -> None:
        name = one.inputs[0]
        emit = self._pointwise_of(name, None, one.output, one.node.attributes["kind"], multiply=False)
        layout = self.values[name].with_halo((0, 0, 0, 0))
        self._made(
            one.output, layout, self.form[name], Step(one.output, "activation", {name: Need()}, one.output, emit)
        )

    def _batch_norm(self, one: Fused) -> None:
        name = one.inputs[0]
        scale, shift = affine_of(one.node.attributes, self.tensors, self.values[name].channels)
        emit = self._pointwise_of(
            name,
            None,
            one.output,
            one.activation,
            multiply=False,
            scale=scale.astype(np.float32),
            shift=shift.astype(np.float32),
        )
        layout = self.values[name].with_halo((0, 0, 0, 0))
        self._made(
            one.output, layout, self.form[name], Step(one.output, "batch_norm", {name: Need()}, one.output, emit)
        )

    def _add_constant(self, one: Fused) -> None:
        name, constant = one.inputs[0], f"{one.output}#constant"
        here = self.values[name]
        stored = tensor(self.tensors, one.node.attributes["constant"])
        ensure(stored.size == here.channels * here.height * here.width, "a constant of another shape")
        values = vector(self.tensors, stored.name)
        if self.form[name] == "tokens":
            values = values.reshape(here.width, here.channels).T
        self.values[constant] = here.with_halo((0, 0, 0, 0))
        self.constants[constant] = np.ascontiguousarray(values, dtype=np.float32)
        emit = self._pointwise_of(name, constant, one.output, one.activation, multiply=False)
        step = Step(one.output, "add_constant", {name: Need(), constant: Need()}, one.output, emit)
        self._made(one.output, here.with_halo((0, 0, 0, 0)), self.form[name], step)

    def _layer_norm(self, one: Fused) -> None:
        name, told = one.inputs[0], one.node.attributes
        channels = self.values[name].channels
        weight = (
            vector(self.tensors, told["weight"], channels) if "weight" in told else np.ones(channels, dtype=np.float32)
        )
        bias = vector(self.tensors, told["bias"], channels) if "bias" in told else np.zeros(channels, dtype=np.float32)
        ensure(self.form[name] != "image", "a layer-norm over the channels of an image")
        self._by_line(one, "layer_norm", {"epsilon": told["epsilon"], "weight": weight, "bias": bias})

    def _softmax(self, one: Fused) -> None:
        self._by_line(one, "softmax", {})

    def _by_line(self, one: Fused, kind: str, more: dict[str, Any]) -> None:
        """What goes over the channels of each pixel; without halos lines follow each other."""
        name = one.inputs[0]
        here = self.values[name]

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            x, y = places[name], places[one.output]
            told = {"in_channel": x.layout.lines, "out_channel": y.layout.lines, "channels": here.channels}
            height, width = here.patch
            if x.layout.lines == y.layout.lines == height * width:  # rows follow each other
                height, width = 1, height * width
            return [
                (
                    kind,
                    more
                    | told
                    | {"in": x.inside + row * x.layout.row, "out": y.inside + row * y.layout.row, "lines": width},
                )
                for row in range(height)
            ]

        layout = here.with_halo((0, 0, 0, 0))
        self._made(one.output, layout, self.form[name], Step(one.output, kind, {name: Need()}, one.output, emit))

    def _attention(self, one: Fused) -> None:
        query, key, value = one.inputs
        told = one.node.attributes
        here = self.values[query]
        heads = told["heads"]
        same = all(self.values[name].same_place == here.same_place for name in (key, value))
        channels = {self.values[name].channels for name in one.inputs}
        ensure(
            same and len(channels) == 1 and here.channels % max(1, heads) == 0 and heads >= 1,
            "an attention that does not fit",
        )
        ensure(here.samples == 1 and self.form[query] == "tokens", "attention with samples in lanes")

        def emit(places: Mapping[str, Place]) -> list[Operation]:
            q, k, v, y = (places[name] for name in (query, key, value, one.output))
            lines = {place.layout.lines for place in (q, k, v, y)}
            ensure(len(lines) == 1, "an attention beside a convolution")
            order = np.full(q.layout.lines * LANES, 2**30, dtype=np.int32)
            order[q.layout.places.reshape(-1)] = np.arange(here.width)
            return [("attention", {
                "query": q.base, "key": k.base, "value": v.base, "out": y.base, "heads": heads, "width": here.channels // heads,
                "channel": q.layout.lines, "scratch": places[f"{one.output}#scratch"].base,
                "places": q.layout.places.reshape(-1).astype(np.int32), "order": order, "causal": told["causal"],
                "scale": told["scale"],
            })]  # fmt: skip

        reads = {name: Need() for name in one.inputs}
        step = Step(
            one.output, "attention", reads, one.output, emit, scratch=2 * self.machine.workers * here.width * 4
        )  # for each chunk
        self._made(one.output, here.with_halo((0, 0, 0, 0)), "tokens", step)


_SCRATCH = Layout(1, 1, 1, 1, (4, 4), (1, 1))


def _guess(rows: Rows, layout: Layout, groups: int, machine: Machine) -> Tiling:
    """A tiling that is seldom bad."""
    if rows.density >= DENSE and groups == 1:
        group = 8 if machine.most >= 8 else 4
        return Tiling(width=3 if group == 8 else 1, group=group)
    height, width = layout.patch
    if machine.most >= 16:
        return Tiling(4, 4) if height >= 4 and width >= 4 else Tiling(2, 8) if height >= 2 else Tiling(1, 16)
    return Tiling(1, machine.most) if width >= machine.most or height == 1 else Tiling(2, machine.most // 2)


def _border(place: Place, fill: float) -> Operation | None:
    lines, table = place.layout.border()
    if not len(lines):
        return None
    source = np.maximum(table.max(axis=1), 0) // LANES  # a patch's neighbours hold the pixel in one line
    ensure(bool(((table < 0) | (table // LANES == source[:, None])).all()), "a halo wider than a patch")
    moves, kinds = np.unique(np.where(table < 0, -1, table % LANES), axis=0, return_inverse=True)
    return "halo", {
        "base": place.base, "channels": place.layout.channels, "channel": place.layout.lines, "lines": lines,
        "sources": source.astype(np.int32), "kinds": kinds.reshape(-1).astype(np.int32),
        "moves": moves.astype(np.int32).reshape(-1), "fill": fill,
    }  # fmt: skip


def _transpose(place: Place, array: int, *, out: bool) -> Operation:
    """Tokens or features between rows of an array and lanes."""
    layout = place.layout
    rows = np.full(layout.lines * LANES, -1, dtype=np.int32)
    rows[layout.places.reshape(-1)] = np.arange(layout.samples * layout.width)  # of one row of pixels
    return "transpose", {
        "place": place.base, "channels": layout.channels, "channel": layout.lines, "array": array, "out": out, "rows": rows,
    }  # fmt: skip


def _gather(
    x: Place | None, y: Place | None, table: NDArray[np.int32], channels: int, *, where: int = 0, array: int = 0,
    source_channel: int | None = None, target_channel: int | None = None,
) -> Operation:  # fmt: skip
    if source_channel is None:
        source_channel = 0 if x is None else x.layout.lines * LANES
    if target_channel is None:
        target_channel = 0 if y is None else y.layout.lines * LANES
    return "gather", {
        "source": 0 if x is None else x.floats, "target": 0 if y is None else y.floats, "channels": channels,
        "source_channel": source_channel, "target_channel": target_channel, "where": where, "array": array, "table": table,
    }  # fmt: skip
