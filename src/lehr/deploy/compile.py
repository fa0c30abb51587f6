"""`compile`: a PyTorch network on the sparse engine, what that does not know through torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lehr.base.errors import LehrError, unknown
from lehr.deploy.capture import Capture, Stage, capture
from lehr.runtime.lowering.layout import LANES
from lehr.runtime.native import MISSING, available
from lehr.runtime.net import Net, halves, settled
from lehr.runtime.planner import plan
from lehr.runtime.plans import Choice

Array = Tensor | NDArray[Any]
# Relative, of the largest output; ordinary differences are below 1e-5 and 1e-2.
TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}


@dataclass(frozen=True)
class Report:
    """What became of a network.

    Args:
        engine: the kernels, or why there are none.
        layers: how each layer of the engine is run, and for how long.
        torch: what is done by torch, and why.
    """

    engine: str
    layers: tuple[Choice, ...]
    torch: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"engine: {self.engine}"]
        for one in self.layers:
            kind, other = ("dense", "sparse") if one.tiling.group else ("sparse", "dense")
            beside = "" if one.other is None else f" ({other} {1e6 * one.other:.0f} us)"
            lines.append(f"{one.name}: {kind}, {1e6 * one.seconds:.0f} us{beside}")
        return "\n".join([*lines, *(f"torch: {text}" for text in self.torch)])


class Compiled:
    """A network to be called with tensors or arrays; it gives what it was given.

    It is a copy: later changes of the network do not reach it. Calls from several threads are in order.
    """

    def __init__(
        self, model: nn.Module, found: Capture, batch: int, nets: Sequence[Net | None], report: Report
    ) -> None:
        self._model, self._found, self._batch, self._nets = model, found, batch, nets
        self.report = report
        self._state = {**model.state_dict(keep_vars=True), **dict(model.named_buffers())}

    @property
    def net(self) -> Net | None:
        """The whole network on the engine; None where torch does some of it."""
        return self._nets[0] if self._found.graph is not None else None

    def __call__(self, *inputs: Array) -> Any:
        """The outputs of the network in evaluation mode for a batch of any size.

        Raises:
            LehrError: an input is of another shape than the example.
        """
        arrays = all(isinstance(x, np.ndarray) for x in inputs)
        if self._found.graph is not None:
            net = self.net
            assert net is not None
            result = net(*(x if isinstance(x, np.ndarray) else x.detach().cpu().numpy() for x in inputs))
            if arrays:
                return result
            return tuple(map(torch.from_numpy, result)) if isinstance(result, tuple) else torch.from_numpy(result)
        tensors = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in inputs]
        with torch.inference_mode():
            # torch's part was recorded for one size of the batch; another is done by the network itself.
            own = self._found.stages and all(len(x) == self._batch for x in tensors)
            result = self._staged(tensors) if own else self._model(*tensors)
        if not arrays:
            return result
        return tuple(x.numpy() for x in result) if isinstance(result, (tuple, list)) else result.numpy()

    def _staged(self, inputs: Sequence[Tensor]) -> Any:
        program = self._found.program
        assert program is not None
        signature = program.graph_signature
        known: dict[str, Any] = dict(zip(signature.user_inputs, inputs, strict=True))
        for name, key in {**signature.inputs_to_parameters, **signature.inputs_to_buffers}.items():
            known[name] = self._state[key]
        for name, key in signature.inputs_to_lifted_tensor_constants.items():
            known[name] = program.constants[key]
        shapes = {node.name: node.meta["val"].shape for node in program.graph.nodes if self._found.names.get(node.name)}

        def value(name: str) -> Any:
            """What a node gives; one that is another form of what torch made has no array of its own."""
            return known[name] if name in known else known[self._found.names[name]].reshape(shapes[name])

        for stage, net in zip(self._found.stages, self._nets, strict=True):
            if net is not None and stage.graph is not None:
                self._engine(stage, net, known, shapes)
            for node in stage.nodes:
                arguments = torch.fx.node.map_arg(node.args, lambda n: value(n.name))
                options = torch.fx.node.map_arg(node.kwargs, lambda n: value(n.name))
                known[node.name] = node.target(*arguments, **options)
        outputs = [value(name) for name in self._found.outputs]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _engine(self, stage: Stage, net: Net, known: dict[str, Any], shapes: Mapping[str, Any]) -> None:
        """The engine's part of a stage: its outputs under their own names and those of the nodes that they stand for."""
        assert stage.graph is not None
        given = [known[name].detach().cpu().numpy().reshape(-1, *shape) for name, shape in stage.graph.inputs]
        found = net(*given)
        for name, array in zip(stage.graph.outputs, found if isinstance(found, tuple) else (found,), strict=True):
            known[name] = torch.from_numpy(array)
        for node, name in self._found.names.items():
            if name in stage.graph.outputs:
                known[node] = known[name].reshape(shapes[node])


def compile(
    model: nn.Module,
    example_inputs: Sequence[Tensor] | Tensor,
    *,
    threads: int | None = None,
    kernels: str | None = None,
    dtype: str = "fp32",
    measure: bool = True,
) -> Compiled:
    """A fast version of a network for this machine's CPU: sparse kernels where they are measured to be faster.

    Args:
        model: the network; it is copied, and run in evaluation mode.
        example_inputs: an input with the batch that matters most, or a sequence of them.
        threads: of the engine; by default all cores.
        kernels: ``avx512``, ``avx2`` or ``portable``; by default the best that the processor runs.
        dtype: of weights and activations: ``fp32``, or ``bf16``, which halves what has to be moved; sums stay fp32, and so do
            parts of the network that work on tokens.
        measure: try ways to cut the work of each layer instead of guessing: some seconds the first time, kept in the user's
            cache (``$LEHR_CACHE``) for the next.

    Where the engine lacks an operation torch does it, and `Compiled.report` names it; without the compiled part of lehr torch
    does everything.

    >>> layer = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    >>> fast = compile(layer, torch.zeros(1, 8), measure=False)
    >>> bool(torch.allclose(fast(torch.ones(3, 8)), layer(torch.ones(3, 8)), atol=1e-6))
    True
    """
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    own = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    batch = len(inputs[0])
    if not available():
        return Compiled(own, Capture((), {}), batch, (), Report(f"none, {MISSING}", (), ("the whole network",)))
    settled(threads, kernels)  # raises for what was asked; what the network brings never does
    if dtype not in LANES:
        raise unknown("dtype", dtype, LANES)
    found = Capture((), {})
    try:
        found = capture(own, inputs)
        fast = _built(own, found, batch, threads, kernels, dtype, measure)
        reason = _difference(fast, own, inputs, TOLERANCE[dtype])
    except LehrError as error:
        reason = str(error)
    if not reason:
        return fast
    told = (*found.unknown, f"the whole network: {reason}")
    return Compiled(own, Capture((), {}), batch, (), Report("none", (), told))


def _built(
    model: nn.Module, found: Capture, batch: int, threads: int | None, kernels: str | None, dtype: str,
    measure: bool,
) -> Compiled:  # fmt: skip
    nets: list[Net | None] = []
    for stage in found.stages:
        own = dtype if stage.graph is not None and halves(stage.graph) else "fp32"
        nets.append(
            None
            if stage.graph is None
            else Net(stage.graph, found.tensors, threads=threads, kernels=kernels, dtype=own)
        )
    built = [net for net in nets if net is not None]
    choices = [choice for net in built if measure for choice in plan(net, batch).choices]
    used = (
        ", ".join([*sorted({net.kernels for net in built}), *sorted({net.dtype for net in built} - {"fp32"})]) or "none"
    )
    return Compiled(model, found, batch, nets, Report(used, tuple(choices), found.unknown))


def unlike(model: nn.Module, found: Capture, example_inputs: Sequence[Tensor] | Tensor) -> tuple[str, ...]:
    """Why the graph of a network must not be relied on; nothing where the engine gives what the network gives."""
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    if not available():
        return (f"the graph cannot be checked: {MISSING}",)
    own = copy.deepcopy(model).cpu().float().eval()
    try:
        reason = _difference(_built(own, found, len(inputs[0]), 1, None, "fp32", False), own, inputs)
    except LehrError as error:
        reason = str(error)
    return (f"the whole network: {reason}",) if reason else ()


def _difference(
    fast: Compiled, model: nn.Module, inputs: Sequence[Tensor], tolerance: float = TOLERANCE["fp32"]
) -> str:
    """What is wrong with the outputs for the example; nothing where they are those of the network."""
    with torch.inference_mode():
        wanted = model(*inputs)
    flat = wanted if isinstance(wanted, (tuple, list)) else [wanted]
    if not all(isinstance(one, Tensor) for one in flat):
        return "its outputs are neither a tensor nor several in a row"
    found = fast(*inputs)
    pairs = list(zip(found, wanted, strict=True)) if isinstance(wanted, (tuple, list)) else [(found, wanted)]
    for a, b in pairs:
        if a.shape != b.shape:
            return f"the engine gave shape {tuple(a.shape)} instead of {tuple(b.shape)}"
        largest = float(b.abs().max()) if b.numel() else 0.0
        if not torch.allclose(a.float(), b.float(), rtol=tolerance, atol=tolerance * largest, equal_nan=True):
            return "the engine's output differs from torch's"
    return ""


__all__ = ["Compiled", "Report", "compile"]
