"""Every operation of the engine against torch in float64, with all the kernels that this processor runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lehr.runtime.graph import ACTIVATIONS, Graph
from lehr.runtime.net import Net
from lehr.runtime.tensors import Stored
from tests.runtime.nets import KERNELS, NO_ENGINE, conv, graph, node, run, stored

pytestmark = pytest.mark.skipif(not KERNELS, reason=NO_ENGINE)
all_kernels = pytest.mark.parametrize("kernels", KERNELS)
Draw = Callable[[Any], Any]
INF, NAN = float("inf"), float("nan")


@pytest.fixture(autouse=True, scope="module")
def one_thread_of_torch():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# -- by hand ------------------------------------------------------------------------------------------------


@all_kernels
def test_a_convolution_by_hand(kernels):
    tensors = stored(w=[[[[1, 0], [0, -1]]]], b=[10])
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    found = run(graph({"x": (1, 3, 3)}, conv("x", "y", bias="b")), tensors, x, kernels=kernels)
    assert found.tolist() == [[[[6, 6], [6, 6]]]]
    padded = run(graph({"x": (1, 3, 3)}, conv("x", "y", padding=[1, 1])), tensors, x, kernels=kernels)
    assert padded[0, 0].tolist() == [[0, -1, -2, 0], [-3, -4, -4, 2], [-6, -4, -4, 5], [0, 6, 7, 8]]


@all_kernels
def test_a_linear_layer_by_hand(kernels):
    tensors = stored(w=[[1, 0, 2], [0, 0, 0]], b=[0.5, -1])
    found = run(
        graph({"x": (3,)}, node("linear", "x", "y", weight="w", bias="b")), tensors, [[1, 2, 3]], kernels=kernels
    )
    assert found.tolist() == [[7.5, -1]]


@all_kernels
def test_a_batch_norm_by_hand(kernels):
    tensors = stored(m=[1, 0], v=[3, 0], g=[2, 1], b=[0, 5])
    norm = node("batch_norm", "x", "y", mean="m", variance="v", weight="g", bias="b", epsilon=1.0)
    assert run(graph({"x": (2,)}, norm), tensors, [[3, 4]], kernels=kernels).tolist() == [[2, 9]]


@all_kernels
def test_pooling_by_hand_below_zero(kernels):
    x = -np.arange(1.0, 10).reshape(1, 1, 3, 3)
    window = {"kernel": [2, 2], "stride": [2, 2], "padding": [1, 1]}
    largest = run(
        graph({"x": (1, 3, 3)}, node("max_pool", "x", "y", dilation=[1, 1], **window)), {}, x, kernels=kernels
    )
    assert largest[0, 0].tolist() == [[-1, -2], [-4, -5]], "what lies outside is never the largest"
    mean = run(graph({"x": (1, 3, 3)}, node("avg_pool", "x", "y", **window)), {}, x, kernels=kernels)
    assert mean[0, 0].tolist() == [[-0.25, -1.25], [-2.75, -7]], "and counts as 0 in a mean"


@all_kernels
def test_attention_by_hand(kernels):
    tokens = np.array([[[0.0, 1.0], [0.0, 3.0]]])  # all scores are the same along the first channel
    attend = node("attention", "q q x", "y", heads=2, scale=1.0, causal=True)
    zeros = node("multiply", "x z", "q")
    made = graph({"x": (2, 2), "z": (2, 2)}, zeros, attend)
    found = run(made, {}, tokens, np.zeros((1, 2, 2)), kernels=kernels)
    assert found[0].tolist() == [[0, 1], [0, 2]], "the first looks at itself, the second at both"


@all_kernels
def test_softmax_by_hand_of_large_values(kernels):
    found = run(graph({"x": (3,)}, node("softmax", "x", "y")), {}, [[1e4, 1e4, -1e4], [-INF, 0, -INF]], kernels=kernels)
    np.testing.assert_allclose(found, [[0.5, 0.5, 0], [0, 1, 0]], atol=1e-30)


@all_kernels
def test_places_by_hand(kernels):
    x = np.arange(12.0).reshape(1, 2, 2, 3)
    shapes = {"x": (2, 2, 3)}
    assert run(graph(shapes, node("flatten", "x", "y")), {}, x, kernels=kernels).tolist() == [list(range(12))]
    tokens = run(graph(shapes, node("tokens", "x", "y")), {}, x, kernels=kernels)
    assert tokens[0].tolist() == [[0, 6], [1, 7], [2, 8], [3, 9], [4, 10], [5, 11]]
    third = graph(shapes, node("tokens", "x", "t"), node("token", "t", "y", index=2))
    assert run(third, {}, x, kernels=kernels).tolist() == [[2, 8]]
    second = graph(shapes, node("slice", "x", "y", first=1, channels=1))
    assert run(second, {}, x, kernels=kernels).tolist() == [[[[6, 7, 8], [9, 10, 11]]]]
    before = graph({"x": (1, 2)}, node("prepend", "x", "y", constant="c"))
    assert run(before, stored(c=[[[5, 6]]]), [[[1, 2]]], kernels=kernels).tolist() == [[[5, 6], [1, 2]]]


# -- against torch ------------------------------------------------------------------------------------------


@dataclass
class Case:
    """A graph, its tensors and inputs, and what torch makes of them.

    `bound` is the size of what was added up: rounding is relative to it.
    """

    graph: Graph
    inputs: list[np.ndarray]
    wanted: Tensor
    tensors: dict[str, Stored] = field(default_factory=dict)
    bound: Tensor | None = None
    tolerance: float = 2e-6


def check(case: Case, kernels: str, threads: int) -> None:
    found = Net(case.graph, case.tensors, threads=threads, kernels=kernels)(*case.inputs)
    assert found.shape == tuple(case.wanted.shape)
    whole = torch.isfinite(case.wanted)  # a window over padding alone has no largest
    assert np.array_equal(found[~whole.numpy()], case.wanted[~whole].numpy())
    scale = float((case.wanted if case.bound is None else case.bound).abs().max())
    apart = (torch.from_numpy(found).double() - case.wanted)[whole].abs()
    worst = float(apart.nan_to_num(INF).max()) if len(apart) else 0.0
    assert worst <= case.tolerance * scale + 1e-30, f"off by {worst:.2g} of {scale:.2g}"


BATCHES = st.sampled_from([1, 2, 3, 15, 16, 17, 40])
FEW = st.sampled_from([1, 2, 3, 16])
SIDES = st.integers(1, 13)


class Numbers:
    """Random arrays from a seed that hypothesis draws."""

    def __init__(self, draw: Draw) -> None:
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        self.scale = draw(st.sampled_from([1.0, 1.0, 1e-2, 30.0]))

    def __call__(self, *shape: int) -> np.ndarray:
        return (self.scale * self.rng.normal(size=shape)).astype(np.float32)

    def sparse(self, density: float, *shape: int) -> np.ndarray:
        return np.where(self.rng.random(shape) < density, self.rng.normal(size=shape), 0).astype(np.float32)


def as64(*arrays: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(np.asarray(array)).double() for array in arrays]


DENSITIES = st.sampled_from([0.0, 0.05, 0.5, 1.0])


def kept(weight: np.ndarray, draw: Draw) -> dict[str, Stored]:
    """The weight as a dense tensor or as one of which the zeros were left out."""
    found = stored(w=weight)["w"]
    if draw(st.booleans()):
        places = np.flatnonzero(weight)
        found = Stored("w", "F32", weight.shape, weight.reshape(-1)[places], places)
    return {"w": found}


def windows(draw: Draw, sides: tuple[int, int], most: int = 4) -> dict[str, list[int]]:
    """A kernel that goes over an image of this size."""
    kernel, stride, padding, dilation = [], [], [], []
    for side in sides:
        pad, wide = draw(st.integers(0, 3)), draw(st.integers(1, 3))
        kernel.append(draw(st.integers(1, max(1, min(most, (side + 2 * pad - 1) // wide + 1)))))
        stride.append(draw(st.integers(1, 4)))
        padding.append(pad)
        dilation.append(wide)
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}


def convolved(draw: Draw) -> Case:
    numbers, batch, sides = Numbers(draw), draw(BATCHES), (draw(SIDES), draw(SIDES))
    groups, each = draw(st.sampled_from([1, 1, 1, 2, 3])), draw(st.integers(1, 5))
    window = windows(draw, sides, 5)
    size = window.pop("kernel")
    outputs = groups * draw(st.integers(1, 6))
    x, b = numbers(batch, groups * each, *sides), numbers(outputs)
    w = numbers.sparse(draw(DENSITIES), outputs, each, *size)
    bias = {"bias": "b"} if draw(st.booleans()) else {}
    made = graph({"x": x.shape[1:]}, conv("x", "y", groups=groups, **window, **bias))
    (x64, w64, b64), options = as64(x, w, b), {**window, "groups": groups}
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    wanted = F.conv2d(x64, w64, b64 if bias else None, **options)
    bound = F.conv2d(x64.abs(), w64.abs(), b64.abs(), **options)
    return Case(made, [x], wanted, {**kept(w, draw), **stored(b=b)}, bound)


def linear(draw: Draw) -> Case:
    numbers, inputs, outputs = Numbers(draw), draw(st.integers(1, 40)), draw(st.integers(1, 20))
    before = draw(st.sampled_from([(), (1,), (5,), (16,), (33,)]))
    x, b = numbers(draw(BATCHES), *before, inputs), numbers(outputs)
    w = numbers.sparse(draw(DENSITIES), outputs, inputs)
    made = graph({"x": x.shape[1:]}, node("linear", "x", "y", weight="w", bias="b"))
    x64, w64, b64 = as64(x, w, b)
    return Case(
        made, [x], F.linear(x64, w64, b64), {**kept(w, draw), **stored(b=b)}, F.linear(x64.abs(), w64.abs(), b64.abs())
    )


def normed(draw: Draw) -> Case:
    """Batch-norm: alone, or into a convolution before it."""
    numbers, channels, sides = (
        Numbers(draw),
        draw(st.integers(1, 6)),
        draw(st.sampled_from([(), (1, 1), (5, 9), (8, 8)])),
    )
    x = numbers(draw(BATCHES), channels, *sides)
    variance = numbers.rng.uniform(0.1, 3, channels).astype(np.float32)
    tensors = {"m": numbers(channels), "v": variance, "g": numbers(channels), "b": numbers(channels)}
    given = {"weight": "g", "bias": "b"} if draw(st.booleans()) else {}
    norm = node("batch_norm", "c", "y", mean="m", variance="v", epsilon=0.01, **given)
    m, v, g, b = as64(*tensors.values())
    after = [g, b] if given else [None, None]
    (x64,) = as64(x)
    if sides and draw(st.booleans()):
        w = numbers.sparse(draw(DENSITIES), channels, channels, 3, 3)
        tensors |= {"w": w}
        made = graph({"x": x.shape[1:]}, conv("x", "c", padding=[1, 1]), norm)
        (w64,) = as64(w)
        inner, size = F.conv2d(x64, w64, padding=1), F.conv2d(x64.abs(), w64.abs(), padding=1)
    else:
        made = graph({"c": x.shape[1:]}, norm)
        inner, size = x64, x64.abs()
    wanted = F.batch_norm(inner, m, v, *after, eps=0.01)
    bound = F.batch_norm(size, -m.abs(), v, *(a if a is None else a.abs() for a in after), eps=0.01)
    return Case(made, [x], wanted, stored(**tensors), bound)


def branches(draw: Draw) -> Case:
    """Two branches added or multiplied, each a convolution or the value itself, then perhaps an activation."""
    numbers, channels, sides = Numbers(draw), draw(st.integers(1, 5)), (draw(SIDES), draw(SIDES))
    x = numbers(draw(BATCHES), channels, *sides)
    size, stride = draw(st.sampled_from([1, 3])), draw(st.sampled_from([1, 1, 2]))
    kinds = [draw(st.sampled_from(["plain", "conv", "narrow", "same"])) for _ in range(2)]
    if stride > 1:
        kinds = ["conv" if kind == "plain" else kind for kind in kinds]
    nodes, values, bounds, names, tensors = [], [], [], [], {}
    (x64,) = as64(x)
    for place, kind in enumerate(kinds):
        if kind == "plain" or (kind == "same" and not place and stride == 1):
            names, values, bounds = [*names, "x"], [*values, x64], [*bounds, x64.abs()]
        elif kind == "same" and place:
            names, values, bounds = [*names, names[0]], [*values, values[0]], [*bounds, bounds[0]]
        else:
            k = 1 if kind == "narrow" else size
            w = numbers.sparse(draw(DENSITIES), channels, channels, k, k)
            tensors[f"w{place}"] = w
            nodes.append(conv("x", f"c{place}", f"w{place}", stride=[stride] * 2, padding=[k // 2] * 2))
            (w64,) = as64(w)
            names.append(f"c{place}")
            values.append(F.conv2d(x64, w64, stride=stride, padding=k // 2))
            bounds.append(F.conv2d(x64.abs(), w64.abs(), stride=stride, padding=k // 2))
    op = draw(st.sampled_from(["add", "add", "multiply"]))
    nodes.append(node(op, " ".join(names), "y"))
    both = torch.add if op == "add" else torch.mul
    wanted, bound = both(*values), both(*bounds)
    if draw(st.booleans()):
        nodes.append(node("activation", "y", "z", kind="relu"))
        wanted = wanted.relu()
    return Case(graph({"x": x.shape[1:]}, *nodes), [x], wanted, stored(**tensors), bound)


def gated(draw: Draw) -> Case:
    """An image times one number a channel, as squeeze-and-excitation has it."""
    numbers, channels = Numbers(draw), draw(st.integers(1, 6))
    x = numbers(draw(BATCHES), channels, draw(SIDES) + 1, draw(SIDES))
    order = draw(st.sampled_from(["x m", "m x"]))
    made = graph({"x": x.shape[1:]}, node("mean", "x", "m"), node("multiply", order, "y"))
    (y,) = as64(x)
    return Case(made, [x], y * y.mean((2, 3), keepdim=True), {}, y.abs() * y.abs().mean((2, 3), keepdim=True))


TORCH: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x, "relu": F.relu, "gelu": F.gelu, "silu": F.silu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu6": F.relu6, "hardswish": F.hardswish,
}  # fmt: skip


def activated(draw: Draw) -> Case:
    """Alone, or after a sum that takes it in."""
    numbers, kind = Numbers(draw), draw(st.sampled_from(ACTIVATIONS))
    x = numbers(draw(BATCHES), draw(st.integers(1, 5)), draw(SIDES), draw(SIDES))
    x[0, 0, 0, 0] = 3.5  # tanh of small values alone is told below
    after = node("activation", "x", "y", kind=kind)
    (x64,) = as64(x)
    if draw(st.booleans()):
        return Case(graph({"x": x.shape[1:]}, after), [x], TORCH[kind](x64))
    both = graph({"v": x.shape[1:]}, node("multiply", "v v", "x"), after)
    return Case(both, [x], TORCH[kind](x64 * x64))


def pooled(draw: Draw) -> Case:
    numbers, sides = Numbers(draw), (draw(SIDES), draw(SIDES))
    x = numbers(draw(BATCHES), draw(st.integers(1, 5)), *sides) - numbers.scale * draw(st.sampled_from([0, 5]))
    window = windows(draw, sides)
    (x64,) = as64(x)
    largest = draw(st.booleans())
    window["padding"] = [min(pad, size // 2) for pad, size in zip(window["padding"], window["kernel"], strict=True)]
    if not largest:
        del window["dilation"]
    reach = [(k - 1) * d + 1 for k, d in zip(window["kernel"], window.get("dilation", [1, 1]), strict=True)]
    for axis in (0, 1):
        if reach[axis] > sides[axis] + 2 * window["padding"][axis]:
            window["kernel"][axis], window["padding"][axis] = 1, 0
    wanted = F.max_pool2d(x64, *window.values()) if largest else F.avg_pool2d(x64, *window.values())
    made = graph({"x": x.shape[1:]}, node("max_pool" if largest else "avg_pool", "x", "y", **window))
    return Case(made, [x], wanted, {}, x64.abs(), 0 if largest else 2e-6)


def averaged(draw: Draw) -> Case:
    numbers, tokens = Numbers(draw), draw(st.booleans())
    x = numbers(
        draw(BATCHES),
        *([draw(st.integers(1, 40))] if tokens else []),
        draw(SIDES),
        *([] if tokens else [draw(SIDES)] * 2),
    )
    (x64,) = as64(x)
    over = 1 if tokens else (2, 3)
    return Case(graph({"x": x.shape[1:]}, node("mean", "x", "y")), [x], x64.mean(over), {}, x64.abs())


def moved(draw: Draw) -> Case:
    """Flatten, tokens, prepend, token, slice: the same numbers elsewhere, exactly."""
    numbers, channels, sides = Numbers(draw), draw(st.integers(1, 6)), (draw(SIDES), draw(SIDES))
    x = numbers(draw(BATCHES), channels, *sides)
    (x64,) = as64(x)
    tokens = x64.flatten(2).transpose(1, 2)
    first = draw(st.integers(0, channels - 1))
    count, extra = draw(st.integers(1, channels - first)), draw(st.integers(1, 3))
    constant = numbers(1, extra, channels)
    before = torch.cat([as64(constant)[0].expand(len(x), -1, -1), tokens], 1)
    index = draw(st.integers(0, tokens.shape[1] + extra - 1))
    to_tokens, prepend = node("tokens", "x", "t"), node("prepend", "t", "p", constant="c")
    cut = {"first": first, "channels": count}
    nodes, wanted = draw(st.sampled_from([
        ([node("flatten", "x", "y")], x64.flatten(1)),
        ([to_tokens], tokens),
        ([to_tokens, prepend], before),
        ([to_tokens, prepend, node("token", "p", "y", index=index)], before[:, index]),
        ([node("slice", "x", "y", **cut)], x64[:, first : first + count]),
        ([to_tokens, node("slice", "t", "y", **cut)], tokens[:, :, first : first + count]),
        ([node("mean", "x", "m"), node("slice", "m", "y", **cut)], x64.mean((2, 3))[:, first : first + count]),
    ]))  # fmt: skip
    exact = nodes[0].op != "mean"
    return Case(graph({"x": x.shape[1:]}, *nodes), [x], wanted, stored(c=constant), x64.abs(), 0 if exact else 2e-6)


def constant_added(draw: Draw) -> Case:
    numbers = Numbers(draw)
    shape = draw(st.sampled_from([(5,), (7, 3), (17, 4), (2, 3, 5), (3, 8, 8)]))
    x, c = numbers(draw(BATCHES), *shape), numbers(*shape)
    made = graph({"x": shape}, node("add_constant", "x", "y", constant="c"), node("activation", "y", "z", kind="relu"))
    x64, c64 = as64(x, c)
    return Case(made, [x], (x64 + c64).relu(), stored(c=c), x64.abs() + c64.abs())


def layer_normed(draw: Draw) -> Case:
    numbers, channels = Numbers(draw), draw(st.integers(1, 40))
    x = numbers(draw(BATCHES), *draw(st.sampled_from([(), (1,), (7,), (20,)])), channels)
    x += numbers.scale * draw(st.sampled_from([0, 3]))
    w, b = numbers(channels), numbers(channels)
    given = {"weight": "w", "bias": "b"} if draw(st.booleans()) else {}
    made = graph({"x": x.shape[1:]}, node("layer_norm", "x", "y", epsilon=0.1, **given))
    x64, w64, b64 = as64(x, w, b)
    wanted = F.layer_norm(x64, (channels,), *([w64, b64] if given else []), eps=0.1)
    return Case(made, [x], wanted, stored(w=w, b=b), wanted.abs() + 4 * w64.abs().max(), 5e-6)


def softmaxed(draw: Draw) -> Case:
    numbers, channels = Numbers(draw), draw(st.integers(1, 30))
    shape = draw(st.sampled_from([(channels,), (9, channels), (channels, 4, 5)]))
    x = numbers(draw(BATCHES), *shape) * draw(st.sampled_from([1, 100]))
    (x64,) = as64(x)
    wanted = x64.softmax(1 if len(shape) == 3 else -1)
    size = min(1.0, 0.1 + float(x64.abs().max()) / 50)  # of the exponents' rounding
    return Case(graph({"x": shape}, node("softmax", "x", "y")), [x], wanted, {}, wanted, 2e-6 * max(1, size))


def attended(draw: Draw) -> Case:
    numbers, heads, width = Numbers(draw), draw(st.integers(1, 4)), draw(st.integers(1, 9))
    count, causal = draw(st.integers(1, 40)), draw(st.booleans())
    shape = (draw(FEW), count, max(2, heads * width) if heads * width > 1 else 2)
    heads, width = (heads, width) if heads * width > 1 else (2, 1)
    scale = draw(st.sampled_from([width**-0.5, 0.1, 2.0])) / numbers.scale**2
    q, k, v = numbers(*shape), numbers(*shape), numbers(*shape)
    attend = node("attention", "q k v", "y", heads=heads, scale=scale, causal=causal)
    made = graph({"q": shape[1:], "k": shape[1:], "v": shape[1:]}, attend)
    apart = [one.unflatten(2, (heads, width)).transpose(1, 2) for one in as64(q, k, v)]
    wanted = F.scaled_dot_product_attention(*apart, is_causal=causal, scale=scale).transpose(1, 2).flatten(2)
    return Case(made, [q, k, v], wanted, {}, apart[2].abs(), 1e-5)


CASES = {
    "convolution": convolved, "linear": linear, "batch-norm": normed, "branches": branches, "gate": gated,
    "activation": activated, "pooling": pooled, "mean": averaged, "moves": moved, "constant": constant_added,
    "layer-norm": layer_normed, "softmax": softmaxed, "attention": attended,
}  # fmt: skip
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@all_kernels
@pytest.mark.parametrize("operation", CASES)
@settings(max_examples=15, suppress_health_check=SLOW)
@given(data=st.data())
def test_every_operation_agrees_with_torch(operation, kernels, data):
    check(CASES[operation](data.draw), kernels, data.draw(st.sampled_from([1, 1, 2, 3])))


@pytest.mark.long
@all_kernels
@pytest.mark.parametrize("operation", CASES)
@settings(max_examples=1500, suppress_health_check=SLOW)
@given(data=st.data())
def test_every_operation_agrees_with_torch_often(operation, kernels, data):
    check(CASES[operation](data.draw), kernels, data.draw(st.sampled_from([1, 1, 2, 3])))


@all_kernels
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation_over_its_whole_range(kind, kernels):
    x = np.concatenate([np.linspace(-110, 110, 4001), np.linspace(-8, 8, 4000)]).astype(np.float32)[None]
    made = graph({"x": x.shape[1:]}, node("activation", "x", "y", kind=kind))
    for piece in (x, np.clip(x, -1, 1)):
        (x64,) = as64(piece)
        check(Case(made, [piece], TORCH[kind](x64)), kernels, 1)


@all_kernels
def test_tanh_keeps_small_numbers(kernels):
    x = np.linspace(-1e-3, 1e-3, 100, dtype=np.float32)[None]
    (x64,) = as64(x)
    check(Case(graph({"x": (100,)}, node("activation", "x", "y", kind="tanh")), [x], x64.tanh()), kernels, 1)


# -- what is no number --------------------------------------------------------------------------------------

SPECIAL = np.array([[NAN, INF, -INF, 1.0, -1.0, 0.0]], dtype=np.float32)


LIMITS = {
    **TORCH,
    "gelu": lambda x: x * torch.special.ndtr(x),
}  # torch itself says NaN for gelu(inf), or inf, by its length


def same(found: np.ndarray, wanted: Tensor) -> None:
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-6, equal_nan=True)


@all_kernels
@pytest.mark.parametrize("kind", [kind for kind in ACTIVATIONS if kind != "silu"])
def test_an_activation_of_what_is_no_number_is_that_of_torch(kind, kernels):
    made = graph({"x": (6,)}, node("activation", "x", "y", kind=kind))
    same(run(made, {}, SPECIAL, kernels=kernels), LIMITS[kind](torch.from_numpy(SPECIAL)))


@all_kernels
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_what_is_no_number_goes_through_as_in_torch(value, place, kernels):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    x[0, 1, place, place] = value
    t = torch.from_numpy(x)
    w = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 3, 3, 3)).astype(np.float32))
    shapes = {"x": (3, 4, 4)}
    found = run(graph(shapes, conv("x", "y", padding=[1, 1])), stored(w=w), x, kernels=kernels)
    same(found, F.conv2d(t, w, padding=1))
    relu = graph(shapes, conv("x", "y", padding=[1, 1]), node("activation", "y", "z", kind="relu"))
    same(run(relu, stored(w=w), x, kernels=kernels), F.conv2d(t, w, padding=1).relu())
    window = {"kernel": [2, 2], "stride": [2, 2], "padding": [0, 0]}
    same(run(graph(shapes, node("avg_pool", "x", "y", **window)), {}, x, kernels=kernels), F.avg_pool2d(t, 2))
    same(run(graph(shapes, node("mean", "x", "y")), {}, x, kernels=kernels), t.mean((2, 3)))
    same(run(graph(shapes, node("softmax", "x", "y")), {}, x, kernels=kernels), t.softmax(1))
    same(run(graph(shapes, node("multiply", "x x", "y")), {}, x, kernels=kernels), t * t)
    if value == value:
        largest = node("max_pool", "x", "y", dilation=[1, 1], **window)
        same(run(graph(shapes, largest), {}, x, kernels=kernels), F.max_pool2d(t, 2))


@all_kernels
def test_what_is_no_number_leaves_no_trace_in_the_next_inference(kernels):
    x = np.random.default_rng(0).normal(size=(20, 3, 9, 9)).astype(np.float32)
    pool = node("max_pool", "b", "c", kernel=[3, 3], stride=[2, 2], padding=[0, 0], dilation=[1, 1])
    nodes = [conv("x", "a", padding=[1, 1]), node("activation", "a", "b", kind="relu"), pool, node("mean", "c", "y")]
    net = Net(graph({"x": (3, 9, 9)}, *nodes), stored(w=np.ones((4, 3, 3, 3))), threads=2, kernels=kernels)
    for count in (1, 20):
        before = net(x[:count])
        assert np.isnan(net(np.full_like(x[:count], NAN))).all()
        assert np.array_equal(net(x[:count]), before)


@all_kernels
def test_a_sample_that_is_no_number_leaves_the_others_alone(kernels):
    x = np.random.default_rng(0).normal(size=(17, 3, 6, 6)).astype(np.float32)
    net = Net(
        graph({"x": (3, 6, 6)}, conv("x", "a", padding=[1, 1]), node("mean", "a", "y")),
        stored(w=np.ones((4, 3, 3, 3))), threads=1, kernels=kernels,
    )  # fmt: skip
    before = net(x)
    x[3] = NAN
    after = net(x)
    assert np.isnan(after[3]).all()
    assert np.array_equal(np.delete(after, 3, 0), np.delete(before, 3, 0))


@all_kernels
def test_the_largest_of_what_is_no_number_is_none(kernels):
    x = np.ones((1, 1, 4, 4), dtype=np.float32)
    x[0, 0, 0, 0] = NAN
    pool = node("max_pool", "x", "y", kernel=[2, 2], stride=[2, 2], padding=[0, 0], dilation=[1, 1])
    same(run(graph({"x": (1, 4, 4)}, pool), {}, x, kernels=kernels), F.max_pool2d(torch.from_numpy(x), 2))


POOL = {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1]}


@all_kernels
@pytest.mark.parametrize(
    "nodes",
    [
        [node("max_pool", "x", "p", **POOL), node("mean", "p", "y")],
        [node("max_pool", "x", "p", **POOL), node("mean", "x", "m"), node("mean", "p", "n"), node("add", "m n", "y")],
    ],
    ids=["after it", "beside it"],
)
def test_a_mean_after_or_beside_a_padded_pool_does_not_see_its_padding(nodes, kernels):
    found = run(graph({"x": (2, 9, 9)}, *nodes), {}, np.ones((1, 2, 9, 9)), kernels=kernels)
    assert np.isfinite(found).all()
