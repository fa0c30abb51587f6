"""What is known while a network is lowered: the layout of every value, and the steps so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from lehr.runtime.checked import ensure
from lehr.runtime.lowering.convolution import Tiling
from lehr.runtime.lowering.fuse import Fused
from lehr.runtime.lowering.layout import WORDS, Layout
from lehr.runtime.lowering.operations import gather, same_pixels
from lehr.runtime.lowering.steps import Machine, Need, Operation, Place, Step
from lehr.runtime.lowering.weights import Floats, Rows, rows_of
from lehr.runtime.tensors import Stored
from lehr.runtime.values import rounded, to_float32

LARGEST = 2**26  # lines of an arena: 4 GiB
FORMS = ("features", "tokens", "image")


@dataclass
class Lowering:
    """One network on its way to the engine.

    Args:
        tensors: weights by name.
        machine: what it is lowered for.
        tilings: how the work of layers is cut, by the name of their outputs.
        values: the layout of every value; `form` says what it is: image, tokens or features.
        steps: in order.
        constants: values that are the same for every input, (channels, pixels).
        parts: values that are some channels of another: which, and from which channel on.
        known: the rows of layers that were read before, by output; a planner lowers a network many times.
    """

    tensors: Mapping[str, Stored]
    machine: Machine
    tilings: Mapping[str, Tiling]
    values: dict[str, Layout] = field(default_factory=dict)
    form: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    constants: dict[str, Floats] = field(default_factory=dict)
    parts: dict[str, tuple[str, int]] = field(default_factory=dict)
    known: dict[str, Rows] = field(default_factory=dict)

    def rows(self, one: Fused) -> Rows:
        """The weights of a layer, in the numbers that the engine multiplies."""
        if one.output not in self.known:
            rows = rows_of(one, self.tensors)
            if self.machine.lanes > WORDS:
                rows = replace(rows, values=to_float32(rounded(rows.values, "F32", "BF16"), "BF16"))
            self.known[one.output] = rows
        return self.known[one.output]

    def usual(self, channels: int, height: int, width: int) -> Layout:
        """The usual layout of an activation of this shape."""
        ensure(min(channels, height, width) >= 1, f"an activation of {channels} x {height} x {width}")
        patches = self.machine.patches
        down = 1
        while down * down * 4 <= patches and not (height == 1 and width > 1):
            down *= 2
        grid = (down, patches // down)
        patch = (-(-height // grid[0]), -(-width // grid[1]))
        return Layout(channels, height, width, self.machine.samples, grid, patch)

    def made(self, name: str, layout: Layout, form: str, step: Step) -> None:
        """Remember a value and the step that makes it."""
        self.values[name], self.form[name] = layout, form
        self.steps.append(step)

    def part(self, name: str, of: str, first: int, channels: int) -> None:
        """A value that is some channels of another, where they are."""
        whole, before = self.parts.get(of, (of, 0))
        self.parts[name] = whole, before + first
        self.values[name], self.form[name] = replace(self.values[of], channels=channels), self.form[of]

    def whole(self, name: str) -> str:
        """The value whose place in the arena it has."""
        return self.parts.get(name, (name, 0))[0]

    def moved(self, name: str, to: Layout) -> str:
        """The activation in another layout of the same image, which is copied if need be."""
        here = self.values[name]
        if here.same_place == to.same_place:
            return name
        moved = f"{name}@{to.grid[0]}x{to.grid[1]}x{to.patch[0]}x{to.patch[1]}"
        if moved not in self.values:

            def emit(places: Mapping[str, Place]) -> list[Operation]:
                x, y = places[name], places[moved]
                return [gather(x, y, same_pixels(x.layout, y.layout), here.channels)]

            step = Step(moved, "move", {name: Need()}, moved, emit)
            self.made(moved, replace(to, channels=here.channels, halo=(0, 0, 0, 0)), self.form[name], step)
        return moved

    def constant(self, name: str, values: Floats, layout: Layout) -> None:
        """Remember numbers (channels, pixels) that are in the arena from the start."""
        self.values[name] = layout.with_halo((0, 0, 0, 0))
        self.constants[name] = np.ascontiguousarray(values, dtype=np.float32)


Rule = Callable[[Lowering, Fused], None]
RULES: dict[str, Rule] = {}


def rule(op: str) -> Callable[[Rule], Rule]:
    """Register how an operation of a graph is lowered."""

    def register(function: Rule) -> Rule:
        RULES[op] = function
        return function

    return register
