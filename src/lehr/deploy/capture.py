"""From a PyTorch network to a graph: `torch.export` says what is computed, each operation is translated or named."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from lehr.base.errors import LehrError
from lehr.deploy import views
from lehr.deploy.contents import stored_tensors
from lehr.deploy.views import View
from lehr.runtime.graph import OWN, Graph, Node
from lehr.runtime.tensors import Stored

WHOLE = 2**31  # what a slice without an end has as its end is larger


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


class Unknown(Exception):
    """An operation that is not translated."""


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
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            program = torch.export.export(model, inputs, strict=False)
    except Exception as error:  # a user's network may do anything
        reason = " ".join(str(error).split())[:200]
        told = f"the whole network: torch.export does not follow it ({type(error).__name__}: {reason})"
        return Capture((), {}, (told,))
    finally:
        model.train(training)
    known = dict(tensors) if tensors is not None else stored_tensors(model, None)
    foreign: set[str] = set()
    while True:
        try:
            return _Translation(program, dict(known), foreign).all()
        except Unseen as node:  # what torch reads must be in one piece: what made it is left to torch as well
            foreign.add(str(node))


class Unseen(Exception):
    """A view that torch would read and that no array holds; the name of its node."""


class _Translation:
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
            self.seen[node.name] = _view_of(node.name, shape)
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
        except Unknown:
            for dead in self.nodes[before:]:
                del self.levels[dead.output]
            del self.nodes[before:]
            raise
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
        return name, _rows_view(name, before, view.count)


Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a translation for these operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def _view_of(name: str, shape: tuple[int, ...]) -> View:
    """A view of a tensor (N, C), (N, T, C) or (N, C, H, W)."""
    if len(shape) == 4:
        return views.image(name, shape[0], shape[1], shape[2], shape[3])
    return _rows_view(name, shape[:-1], shape[-1])


def _rows_view(name: str, before: tuple[int, ...], channels: int) -> View:
    """A view of (N, C) or (N, T, C)."""
    return (
        views.tokens(name, before[0], before[1], channels)
        if len(before) == 2
        else views.features(name, before[0], channels)
    )


def _pair(value: Any) -> list[int]:
    values = [value, value] if isinstance(value, int) else [int(n) for n in value]
    return values * 2 if len(values) == 1 else values


def _stored(value: Any, what: str) -> Stored:
    if not isinstance(value, Stored):
        raise Unknown(f"its {what} is computed, not stored")
    return value


def _name(value: Any, what: str) -> str | None:
    return None if value is None else _stored(value, what).name


@rule("conv2d", "convolution")
def _conv(
    t: _Translation,
    node: Any,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *rest: Any,
) -> View:
    transposed, groups = (rest[0], rest[2]) if len(rest) == 3 else (False, rest[0] if rest else 1)
    if transposed or (isinstance(padding, str) and padding != "valid"):
        raise Unknown("a transposed convolution, or padding given as a word")
    view, stored = t.image(x), _stored(weight, "weight")
    padding = [0, 0] if padding == "valid" else _pair(padding)
    name = t.emit(
        "conv", [view.value], node.name, weight=stored.name, bias=_name(bias, "bias"), stride=_pair(stride), padding=padding,
        dilation=_pair(dilation), groups=int(groups),
    )  # fmt: skip
    return views.image(name, *node.meta["val"].shape)


@rule("linear")
def _linear(t: _Translation, node: Any, x: Any, weight: Any, bias: Any = None) -> View:
    value, before = t.rows(x)
    stored = _stored(weight, "weight")
    name = t.emit("linear", [value], node.name, weight=stored.name, bias=_name(bias, "bias"))
    return _rows_view(name, before, stored.shape[0])


@rule("batch_norm", "_native_batch_norm_legit_no_training")
def _batch_norm(
    t: _Translation, node: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *rest: Any
) -> View:
    if len(rest) > 3 and rest[0]:
        raise Unknown("a batch-norm in training mode")
    epsilon = rest[2] if len(rest) > 3 else rest[1]
    value, view = t.canonical(x)
    if len(view.shape) == 3:
        raise Unknown("a batch-norm over sequences")
    name = t.emit(
        "batch_norm", [value], node.name, weight=_name(weight, "weight"), bias=_name(bias, "bias"),
        mean=_stored(mean, "mean").name, variance=_stored(variance, "variance").name, epsilon=float(epsilon),
    )  # fmt: skip
    return t.like(view, name)


def _active(kind: str) -> Rule:
    def translate(t: _Translation, node: Any, x: Any, *rest: Any, **options: Any) -> View:
        own = kind
        if kind == "gelu" and options.get("approximate", "none") == "tanh":
            own = "gelu_tanh"
        if kind == "hardtanh":
            if [float(v) for v in rest] != [0.0, 6.0]:
                raise Unknown("hardtanh other than ReLU6")
            own = "relu6"
        value, view = t.canonical(x)
        return t.like(view, t.emit("activation", [value], node.name, kind=own))

    return translate


for _op, _kind in {
    "relu": "relu", "relu_": "relu", "gelu": "gelu", "silu": "silu", "silu_": "silu", "sigmoid": "sigmoid", "tanh": "tanh",
    "hardtanh": "hardtanh", "hardtanh_": "hardtanh", "relu6": "relu6", "hardswish": "hardswish", "hardswish_": "hardswish",
}.items():  # fmt: skip
    RULES[_op] = _active(_kind)


@rule("add", "add_", "mul", "mul_")
def _both(t: _Translation, node: Any, a: Any, b: Any, alpha: Any = 1) -> View:
    op = "add" if "add" in str(node.target) else "multiply"
    if alpha != 1:
        raise Unknown("an addition with a factor")
    if isinstance(a, Stored):
        a, b = b, a
    first, view = t.canonical(a)
    if isinstance(b, Stored) and op == "add":
        if (1,) * (len(view.shape) - len(b.shape)) + b.shape != (1, *view.shape[1:]):
            raise Unknown(f"a constant of shape {b.shape} added to {view.shape}")
        return t.like(view, t.emit("add_constant", [first], node.name, constant=b.name))
    if not isinstance(b, View):
        raise Unknown(f"{op} with {type(b).__name__}")
    second, other = t.canonical(b)
    wide, narrow = (view, other) if prod(view.shape) >= prod(other.shape) else (other, view)
    gate = op == "multiply" and len(wide.shape) == 4 and narrow.shape == (*wide.shape[:2], 1, 1)
    if view.shape != other.shape and not gate:
        raise Unknown(f"shapes {view.shape} and {other.shape} are spread over each other")
    return t.like(wide, t.emit(op, [first, second], node.name))


@rule("max_pool2d", "max_pool2d_with_indices")
def _max_pool(
    t: _Translation,
    node: Any,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
) -> View:
    if ceil:
        raise Unknown("pooling with ceil_mode")
    if not isinstance(node.meta["val"], Tensor):
        raise Unknown("pooling that also gives indices")
    view = t.image(x)
    name = t.emit(
        "max_pool", [view.value], node.name, kernel=_pair(kernel), stride=_pair(stride or kernel), padding=_pair(padding),
        dilation=_pair(dilation),
    )  # fmt: skip
    return views.image(name, *node.meta["val"].shape)


@rule("avg_pool2d")
def _avg_pool(
    t: _Translation, node: Any, x: Any, kernel: Any, stride: Any = (), padding: Any = 0, ceil: bool = False, counted: bool = True,
    divisor: Any = None,
) -> View:  # fmt: skip
    if ceil or divisor is not None or (not counted and any(_pair(padding))):
        raise Unknown("average pooling with ceil_mode, a divisor, or uncounted padding")
    view = t.image(x)
    name = t.emit(
        "avg_pool",
        [view.value],
        node.name,
        kernel=_pair(kernel),
        stride=_pair(stride or kernel),
        padding=_pair(padding),
    )
    return views.image(name, *node.meta["val"].shape)


@rule("adaptive_avg_pool2d")
def _adaptive(t: _Translation, node: Any, x: Any, size: Any) -> View:
    view = t.image(x)
    wanted, (batch, channels, *have) = _pair(size), view.shape
    if wanted == [1, 1]:
        return views.image(t.emit("mean", [view.value], node.name), batch, channels, 1, 1)
    if any(h % w for h, w in zip(have, wanted, strict=True)):
        raise Unknown(f"adaptive pooling of {have} to {wanted}")
    cells = [h // w for h, w in zip(have, wanted, strict=True)]
    name = t.emit("avg_pool", [view.value], node.name, kernel=cells, stride=cells, padding=[0, 0])
    return views.image(name, batch, channels, *wanted)


@rule("mean")
def _mean(t: _Translation, node: Any, x: Any, dims: Any = None, keep: bool = False, **_: Any) -> View:
    if not isinstance(x, View) or dims is None:
        raise Unknown("a mean over everything")
    over = sorted(d % len(x.dims) for d in dims)
    shape = x.shape
    if len(shape) == 4 and over == [2, 3]:
        name = t.emit("mean", [t.image(x).value], node.name)
        return views.image(name, shape[0], shape[1], 1, 1) if keep else views.features(name, shape[0], shape[1])
    if len(shape) == 3 and over == [1] and not keep:
        return views.features(t.emit("mean", [t.rows(x)[0]], node.name), shape[0], shape[2])
    raise Unknown(f"a mean over {over} of {shape}")


@rule("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze")
def _reshape(t: _Translation, node: Any, x: Any, *_: Any) -> View:
    if not isinstance(x, View):
        raise Unknown("a reshape of something stored")
    found = x.reshaped(list(node.meta["val"].shape))
    if found is None:
        raise Unknown(f"a reshape of {x.shape} to {tuple(node.meta['val'].shape)}")
    return found


@rule("transpose")
def _transpose(t: _Translation, node: Any, x: Any, a: int, b: int) -> Any:
    if not isinstance(x, View):
        raise Unknown("a transpose of something stored")
    order = list(range(len(x.dims)))
    order[a], order[b] = order[b], order[a]
    return x.permuted(order)


@rule("permute")
def _permute(t: _Translation, node: Any, x: Any, order: Sequence[int]) -> View:
    if not isinstance(x, View):
        raise Unknown("a permutation of something stored")
    return x.permuted([place % len(x.dims) for place in order])


@rule("contiguous", "clone", "dropout", "dropout_", "feature_dropout", "alias", "detach")
def _same(t: _Translation, node: Any, x: Any, *rest: Any, **_: Any) -> Any:
    if "dropout" in str(node.target) and len(rest) > 1 and rest[1]:
        raise Unknown("dropout in training mode")
    return x


@rule("expand")
def _expand(t: _Translation, node: Any, x: Any, shape: Sequence[int], *_: Any) -> Any:
    if isinstance(x, Stored) and len(x.shape) == len(shape) and x.shape[0] == 1:
        kept = all(n in (-1, have) for n, have in zip(shape[1:], x.shape[1:], strict=True))
        if kept:
            return x  # the same for every sample
    raise Unknown("an expansion over more than the batch")


@rule("cat")
def _cat(t: _Translation, node: Any, parts: Sequence[Any], dim: int = 0) -> View:
    if (
        len(parts) == 2
        and isinstance(parts[0], Stored)
        and isinstance(parts[1], View)
        and dim == 1
        and len(parts[1].dims) == 3
    ):
        value, (batch, count) = t.rows(parts[1])
        extra = parts[0].shape
        if len(extra) == 3 and extra[0] == 1 and extra[2] == parts[1].shape[2]:
            name = t.emit("prepend", [value], node.name, constant=parts[0].name)
            return views.tokens(name, batch, count + extra[1], extra[2])
    raise Unknown("a concatenation of anything but stored tokens before others")


@rule("unbind")
def _unbind(t: _Translation, node: Any, x: Any, dim: int = 0) -> list[View]:
    if isinstance(x, View):
        found = [x.picked(dim % len(x.dims), index) for index in range(x.shape[dim])]
        if all(view is not None for view in found):
            return [view for view in found if view is not None]
    raise Unknown("unbind along anything but channels")


@rule("split", "chunk", "split_with_sizes")
def _split(t: _Translation, node: Any, x: Any, size: Any, dim: int = 0) -> list[View]:
    sizes = [tuple(one.shape)[dim] for one in node.meta["val"]]
    if isinstance(x, View):
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        found = [x.narrowed(dim % len(x.dims), start, n) for start, n in zip(starts, sizes, strict=True)]
        if all(view is not None for view in found):
            return [view for view in found if view is not None]
    raise Unknown("a split along anything but channels")


@rule("getitem")
def _getitem(t: _Translation, node: Any, x: Any, index: int) -> Any:
    if isinstance(x, View):  # the first of several outputs, such as of a pooling with indices
        if index:
            raise Unknown("another output than the first")
        return x
    return x[index]


@rule("select")
def _select(t: _Translation, node: Any, x: Any, dim: int, index: int) -> View:
    if isinstance(x, View):
        dim %= len(x.dims)
        if dim == 1 and len(x.dims) == 3 and x.kinds[1] in ("t", "yx", "y", "x"):
            value, (batch, count) = t.rows(x)
            return views.features(t.emit("token", [value], node.name, index=index % count), batch, x.shape[2])
        if dim and (found := x.picked(dim, index % x.shape[dim])) is not None:
            return found
    raise Unknown("a selection along anything but tokens or channels")


@rule("slice")
def _slice(t: _Translation, node: Any, x: Any, dim: int = 0, first: Any = None, last: Any = None, step: int = 1) -> Any:
    if dim == 0 and last is not None and last < WHOLE:
        raise Unknown("a slice of the batch")
    to_end = isinstance(x, View) and (last is None or last >= x.shape[dim])
    if isinstance(x, View) and to_end and len(x.dims) == 4 and dim in (2, 3) and step > 1 and first in (None, 0):
        view = t.image(x)  # every so-manyth row or column: a convolution that passes channels on
        name = _passed(t, node, view, view.channels, 0, [step if dim == 2 else 1, step if dim == 3 else 1])
        return views.image(name, *node.meta["val"].shape)
    if isinstance(x, View) and step == 1:
        size = x.shape[dim]
        begin = 0 if first is None else first if first >= 0 else first + size
        end = size if last is None or last > size else last if last >= 0 else last + size
        if (begin, end) == (0, size):
            return x
        if (found := x.narrowed(dim % len(x.dims), begin, end - begin)) is not None:
            return found
    raise Unknown("a slice of anything but channels")


def _passed(t: _Translation, node: Any, view: View, channels: int, first: int, stride: list[int]) -> str:
    """A convolution of one pixel whose output channel ``first + c`` is the input channel c."""
    name = f"{OWN}{node.name}.identity"
    inputs = view.channels
    places = np.arange(first, first + inputs) * inputs + np.arange(inputs)
    t.tensors[name] = Stored(name, "F32", (channels, inputs, 1, 1), np.ones(inputs, dtype=np.float32), places)
    attributes = {"weight": name, "stride": stride, "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    return t.emit("conv", [view.value], node.name, **attributes)


@rule("pad", "constant_pad_nd")
def _pad(t: _Translation, node: Any, x: Any, sizes: Sequence[int], mode: Any = "constant", value: Any = 0) -> View:
    view = t.image(x)
    sizes = [*sizes, *[0] * (8 - len(sizes))]
    if (
        mode not in ("constant", 0, 0.0)
        or value not in (None, 0, 0.0)
        or any(sizes[:4])
        or any(sizes[6:])
        or min(sizes) < 0
    ):
        raise Unknown("padding of anything but channels with zeros")
    name = _passed(t, node, view, view.channels + sizes[4] + sizes[5], sizes[4], [1, 1])
    return views.image(name, *node.meta["val"].shape)


@rule("layer_norm")
def _layer_norm(
    t: _Translation,
    node: Any,
    x: Any,
    shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    epsilon: float = 1e-5,
    *_: Any,
) -> View:
    value, view = t.canonical(x)
    if len(shape) != 1 or len(view.shape) == 4:
        raise Unknown("a layer-norm over more than the last dimension")
    name = t.emit(
        "layer_norm",
        [value],
        node.name,
        weight=_name(weight, "weight"),
        bias=_name(bias, "bias"),
        epsilon=float(epsilon),
    )
    return t.like(view, name)


@rule("softmax", "_softmax")
def _softmax(t: _Translation, node: Any, x: Any, dim: int, *_: Any) -> View:
    value, view = t.canonical(x)
    channel = 1 if len(view.shape) == 4 else len(view.shape) - 1
    if dim % len(view.shape) != channel:
        raise Unknown("a softmax over anything but channels")
    return t.like(view, t.emit("softmax", [value], node.name))


@rule("scaled_dot_product_attention")
def _attention(
    t: _Translation, node: Any, q: Any, k: Any, v: Any, mask: Any = None, dropout: float = 0.0, causal: bool = False, **options: Any
) -> View:  # fmt: skip
    if mask is not None or dropout or options.get("enable_gqa"):
        raise Unknown("attention with a mask, dropout or grouped queries")
    names = []
    for view in (q, k, v):
        if not isinstance(view, View) or len(view.dims) != 4 or view.kinds[0] != "n" or view.kinds[2] != "t":
            raise Unknown("attention over anything but (batch, heads, tokens, width)")
        names.append(t.rows(view.permuted((0, 2, 1, 3)).reshaped((view.shape[0], view.shape[2], -1)))[0])
    batch, heads, count, width = q.shape
    if k.shape != q.shape or v.shape != q.shape:
        raise Unknown("attention over other tokens, or of another width")
    scale = options.get("scale")
    name = t.emit(
        "attention",
        names,
        node.name,
        heads=heads,
        scale=float(scale if scale is not None else width**-0.5),
        causal=bool(causal),
    )
    t.shapes[name] = (count, heads * width)
    found = views.tokens(name, batch, count, heads * width).reshaped((batch, count, heads, width))
    assert found is not None
    return found.permuted((0, 2, 1, 3))


def _where(node: Any) -> str:
    """The module that a node comes from, for a sentence."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    return f"{path.removeprefix('L[').strip(chr(39)) or 'the network'}: "


def require_graph(found: Capture, what: str) -> Graph:
    """The graph, or one sentence.

    Raises:
        LehrError: something was not understood.
    """
    if found.graph is None:
        raise LehrError(f"{what} has something that the engine cannot run ({found.unknown[0]})")
    return found.graph
