"""The exported program, a node at a time, into stages of a graph and of what is left to torch."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from lehr.base.errors import one_line
from lehr.base.modes import in_mode
from lehr.deploy import views
from lehr.deploy.capture.aliases import changed_in_place
from lehr.deploy.capture.rule import RULES, Unknown, rows_view, view_of
from lehr.deploy.contents import stored_tensors
from lehr.deploy.views import View
from lehr.runtime.graph import OWN, Graph, Node
from lehr.runtime.tensors import Stored


@dataclass(frozen=True)
class Stage:
    """A part of a network: a graph for the engine, then what torch does with its outputs.

    Args:
        graph: None where a stage begins with torch.
        nodes: of the exported program, in order.
    """

    graph: Graph | None
    nodes: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Capture:
    """What was understood of a network.

    Args:
        stages: the network; one stage without nodes of torch where everything was understood.
        tensors: weights by the names that the graphs use.
        unknown: operations that the engine does not have, with the module that they are in.
        outputs: names of what comes out.
        names: values of the engine by the nodes of the program whose results they are.
        program: the exported program; None where torch.export does not follow the network, which has no stages then.
    """

    stages: tuple[Stage, ...]
    tensors: dict[str, Stored]
    unknown: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    program: ExportedProgram | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def graph(self) -> Graph | None:
        """The graph of the whole network; None where something was not understood."""
        return self.stages[0].graph if len(self.stages) == 1 and not self.unknown else None


def capture(
    model: nn.Module, example_inputs: Sequence[Tensor] | Tensor, tensors: dict[str, Stored] | None = None
) -> Capture:
    """The graph of a network in evaluation mode.

    Args:
        model: any network that `torch.export` follows.
        example_inputs: one input, or a sequence of them, of any batch size.
        tensors: its weights as they are to be stored; by default all dense.

    >>> found = capture(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.zeros(1, 4))
    >>> [node.op for node in found.graph.nodes]
    ['linear', 'activation']
    """
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    try:
        with torch.no_grad(), in_mode(model):
            program = torch.export.export(model, inputs, strict=False)
    except Exception as error:  # a user's network may do anything
        told = f"the whole network: torch.export does not follow it ({one_line(error, 200, named=True)})"
        return Capture((), {}, (told,))
    if (name := changed_in_place(program.graph)) is not None:
        return Capture((), {}, (f"the whole network: {name} changes in place what is read again elsewhere",))
    known = dict(tensors) if tensors is not None else stored_tensors(model, None)
    foreign: set[str] = set()
    while True:
        try:
            return Translation(program, dict(known), foreign).all()
        except Unseen as node:  # what torch reads must be in one piece: what made it is left to torch as well
            foreign.add(str(node))


class Unseen(Exception):
    """A view that torch would read and that no array holds; the name of its node."""


class Translation:
    """Goes through the exported graph, a node at a time; `seen` holds what each node gives.

    A value of level n is made by the engine in stage n, or by torch at the end of that stage.
    """

    def __init__(self, program: ExportedProgram, tensors: dict[str, Stored], foreign: set[str]) -> None:
        self.program, self.tensors, self.foreign = program, tensors, foreign
        signature = program.graph_signature
        self.weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.constants = dict(signature.inputs_to_lifted_tensor_constants)
        self.batch = 0  # of the example
        self.seen: dict[str, Any] = {}
        self.nodes: list[Node] = []
        self.levels: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}  # of values, one sample
        self.given: set[str] = set()  # inputs, and what torch makes
        self.torch: dict[int, list[Any]] = {}  # nodes left to torch, by level
        self.wanted: set[str] = set()  # values that leave the engine
        self.inputs: list[str] = []
        self.names: dict[str, str] = {}  # nodes of the program whose result is such a value

    def all(self) -> Capture:
        unknown: list[str] = []
        outputs: list[str] = []
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "output":
                if not all(isinstance(value, torch.fx.Node) for value in node.args[0]):
                    return Capture((), {}, ("the whole network: an output is no tensor",))
                outputs = [self._read(value) for value in node.args[0]]
            elif node.name in self.foreign:
                self._leave(node)
            else:
                try:
                    self._call(node)
                except Unknown as reason:
                    unknown.append(f"{_where(node)}{reason}")
                    self._leave(node)
        left = [node for node in self.program.graph.nodes if node.name in self.foreign]
        unknown += [f"{_where(node)}{node.target} gives a view that no array of the engine holds" for node in left]
        stages = self._stages()
        made = [self.names.get(name) for name in outputs]
        if not unknown and (len(stages) != 1 or stages[0].graph is None or stages[0].nodes or None in made):
            unknown.append("the network: an output is one of its inputs")
        if not unknown and len(set(made)) < len(made):
            unknown.append("the network: an output is there twice")
        if not unknown and not all(name in self.shapes for name in self.inputs):
            unknown.append("the network: an input is of a kind that the engine does not take")
        if not unknown and stages[0].graph is not None:  # in the order in which the network takes and gives them
            inputs = tuple((name, self.shapes[name]) for name in self.inputs)
            shape = {n.name: tuple(n.meta["val"].shape[1:]) for n in self.program.graph.nodes if n.name in outputs}
            shapes = tuple(shape[name] for name in outputs)
            stages = (Stage(Graph(inputs, tuple(map(str, made)), stages[0].graph.nodes, shapes)),)
        return Capture(stages, self.tensors, tuple(unknown), tuple(outputs), self.program, self.names)

    def _stages(self) -> tuple[Stage, ...]:
        stages = []
        for level in range(1 + max([0, *self.levels.values()])):
            nodes = tuple(node for node in self.nodes if self.levels[node.output] == level)
            made = dict.fromkeys(node.output for node in nodes)
            read = dict.fromkeys(name for node in nodes for name in node.inputs if name not in made)
            later = {name for node in self.nodes if self.levels[node.output] > level for name in node.inputs}
            left = tuple(name for name in made if name in self.wanted or name in later)
            graph = Graph(tuple((name, self.shapes[name]) for name in read), left, nodes) if nodes else None
            stages.append(Stage(graph, tuple(self.torch.get(level, ()))))
        return tuple(stage for stage in stages if stage.graph is not None or stage.nodes)

    # -- what comes in, and what is left to torch ---------------------------------------------
    def _placeholder(self, node: Any) -> None:
        name = node.name
        if name in self.weights:
            self.seen[name] = self._weight(self.weights[name])
        elif name in self.constants:
            self.seen[name] = self._weight(self.constants[name])
        else:
            self.inputs.append(str(name))
            self._give(node, -1)

    def _give(self, node: Any, level: int) -> None:
        """An array that the engine can be given, if it is of a form that it takes."""
        self.levels[node.name] = level
        self.given.add(node.name)
        self.seen[node.name] = node
        value = node.meta.get("val")
        if level < 0 and isinstance(value, Tensor) and value.dim():
            self.batch = self.batch or int(value.shape[0])
        fits = isinstance(value, Tensor) and 2 <= value.dim() <= 4 and value.dtype == torch.float32
        if fits and min(value.shape) > 0 and value.shape[0] == self.batch:
            shape = tuple(int(n) for n in value.shape)
            self.seen[node.name] = view_of(node.name, shape)
            self.shapes[node.name] = shape[1:]

    def _leave(self, node: Any) -> None:
        """Torch does this node, after the engine's part of its stage."""
        level = 0
        for source in node.all_input_nodes:
            if not isinstance(self.seen[source.name], Stored):
                name = self._read(source)
                level = max(level, self.levels[self.names.get(name, name)])
        self.torch.setdefault(level, []).append(node)
        self._give(node, level)

    def _read(self, source: Any) -> str:
        """The name of the array that holds what a node gives, which is then made."""
        seen = self.seen[source.name]
        if source.name in self.given:
            return str(source.name)
        if not isinstance(seen, View):
            raise Unseen(source.name)
        try:
            name = self.canonical(seen)[0]
        except Unknown:
            raise Unseen(source.name) from None
        if prod(self.shapes[name]) != prod(source.meta["val"].shape[1:]):
            raise Unseen(source.name)
        self.wanted.add(name)
        self.names[source.name] = name
        return str(source.name)

    def _weight(self, name: str) -> Stored:
        if name not in self.tensors:  # buffers that are not in the state dict, constants in the code
            values = self.program.state_dict.get(name, self.program.constants.get(name))
            name = f"{OWN}{name}"
            if not isinstance(values, Tensor) or not values.dtype.is_floating_point:
                return Stored(name, "I64", (0,), np.zeros(0, dtype=np.int64))
            flat = values.detach().float().reshape(-1).numpy()
            self.tensors[name] = Stored(name, "F32", tuple(values.shape), flat)
        return self.tensors[name]

    def _call(self, node: Any) -> None:
        name = (
            getattr(node.target, "__name__", str(node.target)) if node.target is operator.getitem else str(node.target)
        )
        if any(isinstance(self.seen[source.name], torch.fx.Node) for source in node.all_input_nodes):
            raise Unknown(f"{name} is over something that is no array with the batch first")
        rule = RULES.get(name.removeprefix("aten.").partition(".")[0])
        if rule is None:
            raise Unknown(f"{name} is not an operation of the engine")
        arguments = torch.fx.node.map_arg(node.args, lambda n: self.seen[n.name])
        options = torch.fx.node.map_arg(node.kwargs, lambda n: self.seen[n.name])
        before = len(self.nodes)
        try:
            result = rule(self, node, *arguments, **options)
        except (Unknown, TypeError, ValueError, LookupError, AttributeError) as error:
            for dead in self.nodes[before:]:
                del self.levels[dead.output]
            del self.nodes[before:]
            if isinstance(error, Unknown):
                raise
            raise Unknown(f"{name} is called in a way that is not translated ({error})") from error
        self.seen[node.name] = result
        if isinstance(result, View) and result.value == node.name:
            self.shapes.setdefault(node.name, result.shape[1:])

    # -- values -------------------------------------------------------------------------------
    def emit(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node and give its output's name."""
        self.nodes.append(Node(op, tuple(inputs), name, {k: v for k, v in attributes.items() if v is not None}))
        # What torch has made in one stage is there from the next on.
        self.levels[name] = max(self.levels[value] + (value in self.given) for value in inputs)
        return name

    def image(self, view: Any) -> View:
        """The view, if it is a whole (N, C, H, W)."""
        if (
            isinstance(view, View)
            and len(view.dims) == 4
            and view.first == 0
            and view.count == view.channels
            and view.in_order
        ):
            kinds = view.kinds
            if kinds[0] == "n" and kinds[1] in ("c", "") and kinds[2] in ("y", "") and kinds[3] in ("x", ""):
                return view
        raise Unknown("it is not over an image of the form (batch, channels, height, width)")

    def rows(self, view: Any) -> tuple[str, tuple[int, ...]]:
        """The value of (N, C) or (N, T, C), moved into that form if need be, and the sizes before the channels."""
        if not isinstance(view, View) or not view.dims or view.kinds[0] != "n":
            raise Unknown("it is not over (batch, channels) or (batch, tokens, channels)")
        kinds = view.kinds
        if len(view.dims) == 2:
            if kinds[1] in ("c", "") and view.in_order:
                return self._sliced(view), (view.shape[0],)
            if (
                kinds[1].lstrip("c") in ("yx", "y", "x")
                and view.first == 0
                and view.count == view.channels
                and view.in_order
            ):
                return self._once("flatten", view.value), (view.shape[0],)
        if len(view.dims) == 3 and kinds[2] in ("c", "") and view.in_order:
            if kinds[1] in ("t", ""):
                return self._sliced(view), view.shape[:2]
            if kinds[1] in ("yx", "y", "x") and view.first == 0 and view.count == view.channels:
                return self._once("tokens", view.value), view.shape[:2]
        raise Unknown("it is over an arrangement of channels and tokens that the engine does not have")

    def _once(self, op: str, value: str) -> str:
        name = f"{value}.{op}"
        if name not in self.levels:
            self.emit(op, [value], name)
            channels, *pixels = self.shapes[value]
            self.shapes[name] = (channels * prod(pixels),) if op == "flatten" else (prod(pixels), channels)
        return name

    def _sliced(self, view: View) -> str:
        if view.first == 0 and view.count == view.channels:
            return view.value
        name = f"{view.value}.{view.first}+{view.count}"
        if name not in self.levels:
            self.emit("slice", [view.value], name, first=view.first, channels=view.count)
            self.shapes[name] = (*self.shapes[view.value][:-1], view.count)
        return name

    def like(self, view: View, name: str, channels: int | None = None) -> View:
        """A view of a new value in the form of another."""
        shape = view.shape
        if len(shape) == 4:
            return views.image(name, shape[0], channels or shape[1], shape[2], shape[3])
        if len(shape) == 3:
            return views.tokens(name, shape[0], shape[1], channels or shape[2])
        return views.features(name, shape[0], channels or shape[1])

    def canonical(self, view: Any) -> tuple[str, View]:
        """The value of an image, tokens or features, and its view."""
        if isinstance(view, View) and len(view.dims) == 4:
            return self.image(view).value, view
        name, before = self.rows(view)
        return name, rows_view(name, before, view.count)


def _where(node: Any) -> str:
    """The module that a node comes from, for a sentence."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    return f"{path.removeprefix('L[').strip(chr(39)) or 'the network'}: "
