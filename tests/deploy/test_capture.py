"""What is captured computes what torch does; what is not understood is named, and never computed wrongly."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lehr.deploy.capture import Capture, capture
from lehr.deploy.contents import stored_tensors
from lehr.masks import select
from lehr.models import create, models
from lehr.runtime.graph import graph_of
from lehr.runtime.net import Net
from tests.runtime.nets import KERNELS, NO_ENGINE

pytestmark = pytest.mark.skipif(not KERNELS, reason=NO_ENGINE)
TEXT = ("gpt_mini", "gpt_char", "text_encoder")
USUAL = ("resnet20", "resnet18", "vgg11", "wrn_10_2", "lenet5", "lenet_300_100", "mlp_6_100", "vit_tiny")
BATCHES = (1, 3, 16, 20)


@pytest.fixture(autouse=True, scope="module")
def one_thread_of_torch():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Does(nn.Module):
    """A module of one function, with what it needs as attributes."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, nn.Parameter(part) if isinstance(part, Tensor) else part)

    def forward(self, *x: Tensor) -> Any:
        return self.function(self, *x)


def random_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model.eval()


def check(found: Capture, model: nn.Module, *inputs: Tensor, tolerance: float = 1e-5) -> None:
    """That the engine gives what torch does, shapes and all."""
    assert found.graph is not None, found.unknown
    assert graph_of(found.graph.plain()) == found.graph, "it goes into a file"
    with torch.no_grad():
        wanted = model(*(x.clone() for x in inputs))
    made = Net(found.graph, found.tensors, threads=1)(*(x.numpy() for x in inputs))
    pairs = list(zip(made, wanted, strict=True)) if isinstance(wanted, tuple) else [(made, wanted)]
    for one, other in pairs:
        assert one.shape == tuple(other.shape)
        worst, scale = float(np.abs(one - other.numpy()).max()), float(other.abs().max())
        assert worst <= tolerance * scale, f"off by {worst:.2g} of {scale:.2g}"


def like(x: Tensor, count: int) -> Tensor:
    return torch.randn(count, *x.shape[1:], dtype=x.dtype)


# -- whole networks -----------------------------------------------------------------------------------------


def check_model(name: str, shape: tuple[int, ...] = (3, 32, 32)) -> None:
    torch.manual_seed(0)
    model = create(name, num_classes=10, input_shape=shape).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
    mask = select(model, 0.9, scope="layer").apply_(model)
    example = torch.randn(2, *shape)
    found = capture(model, example, stored_tensors(model, mask))
    assert not found.unknown
    assert all(found.tensors[name].places is not None for name in mask)
    for count in BATCHES:
        check(found, model, like(example, count))
    assert not model.training


@pytest.mark.parametrize("name", USUAL)
def test_a_network_of_every_kind_is_captured(name):
    check_model(name)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in models if name not in (*USUAL, *TEXT)])
def test_every_other_network_is_captured(name):
    check_model(name)


@pytest.mark.parametrize("name", ["resnet20", "lenet5", "mlp_6_100"])
def test_images_of_other_sizes(name):
    check_model(name, (1, 8, 8))


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet18", "vgg16", "vit_tiny"])
def test_large_images(name):
    check_model(name, (3, 64, 96))


@pytest.mark.parametrize("name", ["gpt_mini", "text_encoder", pytest.param("gpt_char", marks=pytest.mark.long)])
def test_networks_that_read_text_are_named(name):
    model = create(name, vocabulary=20, context=8, num_classes=None if name.startswith("gpt") else 3)
    found = capture(model, torch.randint(1, 20, (2, 8)))
    assert found.graph is None
    assert any("embedding" in text or "int64" in text for text in found.unknown), found.unknown


def test_the_network_is_as_before():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert capture(model, torch.randn(2, 3, 8, 8)).graph is not None
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_example_may_have_any_batch():
    model = random_statistics(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2)))
    graphs = [capture(model, torch.randn(count, 3, 6, 6)).graph for count in (1, 2, 16)]
    assert graphs[0] is not None
    assert graphs[0] == graphs[1] == graphs[2]


# -- operations ---------------------------------------------------------------------------------------------


def heads(x: Tensor, count: int) -> list[Tensor]:
    """Query, key and value of (N, T, 3 C), each (N, heads, T, width)."""
    return list(x.reshape(*x.shape[:2], 3, count, -1).permute(2, 0, 3, 1, 4))


def joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


IMAGE, TOKENS, FEATURES = (3, 9, 8), (7, 8), (8,)
CAPTURED: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolution": (nn.Conv2d(3, 4, 3), IMAGE),
    "every option": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2), (4, 9, 9)),
    "no bias": (nn.Conv2d(3, 4, 3, bias=False), IMAGE),
    "valid": (nn.Conv2d(3, 4, 3, padding="valid"), IMAGE),
    "float64 weights": (nn.Sequential(nn.Linear(8, 4)).double().float(), FEATURES),
    "linear": (nn.Linear(8, 3), FEATURES),
    "linear over tokens": (nn.Linear(8, 3, bias=False), TOKENS),
    "batch-norm": (nn.BatchNorm2d(3), IMAGE),
    "batch-norm without weights": (nn.BatchNorm2d(3, affine=False), IMAGE),
    "batch-norm of features": (nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5)), FEATURES),
    "layer-norm": (nn.LayerNorm(8), TOKENS),
    "layer-norm without weights": (nn.LayerNorm(8, elementwise_affine=False), FEATURES),
    "max-pool": (nn.MaxPool2d(3, 2, 1), IMAGE),
    "max-pool with dilation": (nn.MaxPool2d((2, 3), dilation=2), IMAGE),
    "average": (nn.AvgPool2d(3, 2, 1), IMAGE),
    "adaptive": (nn.AdaptiveAvgPool2d((3, 2)), IMAGE),
    "adaptive to one": (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)), IMAGE),
    "mean": (Does(lambda self, x: x.mean((2, 3))), IMAGE),
    "mean from the end": (Does(lambda self, x: x.mean((-1, -2))), IMAGE),
    "mean of tokens": (Does(lambda self, x: x.mean(1)), TOKENS),
    "flatten": (nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(84, 3)), IMAGE),
    "to tokens": (Does(lambda self, x: self.a(x.flatten(2).transpose(1, 2)), a=nn.Linear(3, 4)), IMAGE),
    "a token": (Does(lambda self, x: self.a(x[:, -1]), a=nn.Linear(8, 4)), TOKENS),
    "class token": (
        Does(lambda self, x: torch.cat([self.t.expand(x.shape[0], -1, -1), x], 1) + self.p,
             t=torch.randn(1, 1, 8), p=torch.randn(1, 8, 8)), TOKENS,
    ),
    "added to itself": (Does(lambda self, x: x + x), IMAGE),
    "multiplied": (Does(lambda self, x: self.a(x) * self.b(x), a=nn.Linear(8, 3), b=nn.Linear(8, 3)), FEATURES),
    "in place": (Does(lambda self, x: self.a(x).relu_().add_(x), a=nn.Conv2d(3, 3, 1)), IMAGE),
    "in place, and read again": (
        Does(lambda self, x: (lambda y: self.b(F.relu(y, inplace=True)) + y)(self.a(x)),
             a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 1)), IMAGE,
    ),
    "softmax": (nn.Softmax(-1), TOKENS),
    "softmax of an image": (nn.Softmax2d(), IMAGE),
    "every second pixel": (Does(lambda self, x: x[:, :, ::2, ::3]), IMAGE),
    "channels of zeros": (Does(lambda self, x: F.pad(x, (0, 0, 0, 0, 1, 2))), IMAGE),
    "half of the channels": (
        Does(lambda self, x: (lambda y: y[0] * y[1].sigmoid())(self.a(x).chunk(2, -1)), a=nn.Linear(8, 6)), FEATURES
    ),
    "dropout": (nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5), nn.Identity()), FEATURES),
    "attention": (
        Does(lambda self, x: self.b(joined(F.scaled_dot_product_attention(*heads(self.a(x), 2)))),
             a=nn.Linear(8, 24), b=nn.Linear(8, 5)), TOKENS,
    ),
    "attention that looks back": (
        Does(lambda self, x: joined(F.scaled_dot_product_attention(*heads(self.a(x), 3), is_causal=True, scale=0.3)),
             a=nn.Linear(8, 27)), TOKENS,
    ),
    "one layer twice": (Does(lambda self, x: self.a(self.a(x).relu()), a=nn.Linear(8, 8)), FEATURES),
    **{
        type(one).__name__ + (" tanh" if getattr(one, "approximate", "") == "tanh" else ""): (nn.Sequential(one), IMAGE)
        for one in (nn.ReLU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.ReLU6(), nn.Hardswish())
    },
}  # fmt: skip


@pytest.mark.parametrize("what", CAPTURED)
def test_an_operation_is_captured(what):
    torch.manual_seed(0)
    model, shape = CAPTURED[what]
    random_statistics(model)
    for count in (2, 1):
        found = capture(model, torch.randn(count, *shape))
        for batch in (1, 3, 17):
            check(found, model, torch.randn(batch, *shape))


def test_a_mask_is_used():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)).eval()
    mask = select(model, 0.5, scope="layer").apply_(model)
    found = capture(model, torch.randn(1, 8), stored_tensors(model, mask))
    assert len(found.tensors["0.weight"].values) == 24
    check(found, model, torch.randn(5, 8))


# -- what is not understood ---------------------------------------------------------------------------------

REFUSED: dict[str, tuple[nn.Module, Any, str]] = {
    "what depends on data": (Does(lambda self, x: x if x.sum() > 0 else -x), FEATURES, "whole network: torch.export does not"),
    "transposed": (nn.Sequential(nn.ConvTranspose2d(3, 4, 2)), IMAGE, "^0: .*conv_transpose2d"),
    "same": (nn.Sequential(nn.Conv2d(3, 4, 3, padding="same")), IMAGE, "^0: .*padding given as a word"),
    "around the edge": (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")), IMAGE, "^0: padding of anything"),
    "one dimension": (nn.Sequential(nn.Conv1d(7, 4, 3)), TOKENS, "^0: .*conv1d"),
    "ceiling": (nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), IMAGE, "^0: pooling with ceil_mode"),
    "ceiling of a mean": (nn.Sequential(nn.AvgPool2d(2, ceil_mode=True)), IMAGE, "^0: average pooling with ceil_mode"),
    "uncounted": (nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False)), IMAGE, "^0: average pooling with .*uncounted"),
    "a divisor": (nn.AvgPool2d(2, divisor_override=3), IMAGE, "average pooling with .*divisor"),
    "uneven cells": (nn.AdaptiveAvgPool2d(4), IMAGE, r"adaptive pooling of \[9, 8\] to \[4, 4\]"),
    "training": (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)), IMAGE, "^0: a batch-norm in training mode"),
    "dropout that stays": (Does(lambda self, x: F.dropout(x, 0.5, True)), IMAGE, "dropout in training mode"),
    "a mask": (
        Does(lambda self, x: joined(F.scaled_dot_product_attention(*heads(self.a(x), 2), attn_mask=self.m)),
             a=nn.Linear(8, 24), m=torch.zeros(7, 7)), TOKENS, "attention with a mask",
    ),
    "rows first": (nn.MultiheadAttention(8, 2, batch_first=True), "self", "."),
    "a factor": (Does(lambda self, x: torch.add(x, x, alpha=2)), IMAGE, "an addition with a factor"),
    "a number": (Does(lambda self, x: x * 2), IMAGE, "multiply with int"),
    "subtraction": (Does(lambda self, x: x - x), IMAGE, "aten.sub.Tensor is not an operation"),
    "a product": (Does(lambda self, x: x @ self.w, w=torch.randn(8, 3)), FEATURES, "aten.matmul.default is not"),
    "a computed weight": (Does(lambda self, x: F.linear(x, x)), FEATURES, "weight is computed, not stored"),
    "a mean of rows": (Does(lambda self, x: x.mean(2)), IMAGE, r"a mean over \[2\] of"),
    "a mean of all": (Does(lambda self, x: self.a(x).mean(), a=nn.Linear(8, 2)), FEATURES, "a mean over everything"),
    "a mean of samples": (Does(lambda self, x: x.mean(0, keepdim=True)), FEATURES, r"a mean over \[0\]"),
    "softmax over tokens": (nn.Sequential(nn.Softmax(1)), TOKENS, "^0: a softmax over anything but channels"),
    "softmax over columns": (nn.Sequential(nn.Softmax(-1)), IMAGE, "^0: a softmax over anything but channels"),
    "a wide layer-norm": (nn.Sequential(nn.LayerNorm((7, 8))), TOKENS, "^0: a layer-norm over more than the last"),
    "rows as tokens": (Does(lambda self, x: self.a(x.permute(0, 2, 3, 1)), a=nn.Linear(3, 2)), IMAGE, "^a: it is over an arr"),
    "samples as tokens": (
        Does(lambda self, x: self.a(x.reshape(-1, 8)), a=nn.Linear(8, 2)), TOKENS, "^a: "
    ),
    "two inputs together": (Does(lambda self, x: torch.cat([x, x], 1)), IMAGE, "a concatenation of anything but"),
    "a half": (Does(lambda self, x: self.a(x[:, :, :4]), a=nn.Conv2d(3, 2, 1)), IMAGE, "a slice of anything but channels"),
    "padding of rows": (Does(lambda self, x: F.pad(x, (1, 1))), IMAGE, "padding of anything but channels with zeros"),
    "padding with ones": (
        Does(lambda self, x: F.pad(x, (0, 0, 0, 0, 1, 1), value=1.0)), IMAGE, "padding of anything but channels with zeros"
    ),
    "embedding": (nn.Embedding(5, 3), torch.tensor([[1, 2], [0, 1]]), "embedding|int64"),
    "a broadcast sum": (
        Does(lambda self, x: x + self.a(x.mean((2, 3), keepdim=True)), a=nn.Sigmoid()), IMAGE, "are spread over each other"
    ),
    "a gate a token": (
        Does(lambda self, x: self.a(x) * self.b(x), a=nn.Linear(8, 4), b=nn.Linear(8, 1)), TOKENS, "are spread over each other"
    ),
    "hardtanh": (nn.Sequential(nn.Hardtanh()), IMAGE, "^0: hardtanh other than ReLU6"),
    "grouped heads": (
        Does(lambda self, x: joined(F.scaled_dot_product_attention(
            self.a(x).reshape(-1, 7, 2, 4).transpose(1, 2), *[self.b(x).reshape(-1, 7, 1, 4).transpose(1, 2)] * 2, enable_gqa=True
        )), a=nn.Linear(8, 8), b=nn.Linear(8, 4)), TOKENS, "grouped queries",
    ),
}  # fmt: skip


def inputs_for(shape: Any, count: int = 2) -> tuple[Tensor, ...]:
    if shape == "self":
        x = torch.randn(count, *TOKENS)
        return x, x, x
    return (shape,) if isinstance(shape, Tensor) else (torch.randn(count, *shape),)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("what", REFUSED)
def test_what_the_engine_lacks_is_named(what, count):
    model, shape, message = REFUSED[what]
    found = capture(model.eval(), inputs_for(shape, count))
    assert found.graph is None
    assert found.unknown
    assert all(": " in text and "\n" not in text and len(text) < 400 for text in found.unknown)
    assert any(re.search(message, text) for text in found.unknown), found.unknown


SILENT: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "tokens turned": (Does(lambda self, x: self.a(x.transpose(1, 2)), a=nn.Linear(7, 2)), TOKENS),
    "channels shuffled": (
        Does(lambda self, x: self.a(x.reshape(-1, 2, 2, 5, 5).transpose(1, 2).reshape(-1, 4, 5, 5)), a=nn.Conv2d(4, 2, 1)),
        (4, 5, 5),
    ),
    "tokens flat": (Does(lambda self, x: self.a(x.flatten(1)), a=nn.Linear(56, 2)), TOKENS),
    "columns first": (
        Does(lambda self, x: self.a(x.transpose(2, 3).flatten(1)), a=nn.Linear(216, 2)), IMAGE
    ),
    "image turned": (Does(lambda self, x: self.a(x.transpose(2, 3)), a=nn.Conv2d(3, 2, 1)), IMAGE),
}  # fmt: skip


@pytest.mark.parametrize("what", SILENT)
def test_a_view_that_is_left_to_torch_is_named(what):
    model, shape = SILENT[what]
    found = capture(model.eval(), torch.randn(2, *shape))
    assert found.graph is None
    assert found.unknown


# -- what is wrong now --------------------------------------------------------------------------------------


def excited(x: Tensor, self: Any) -> Tensor:
    return x * self.b(self.a(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


WRONG: dict[str, tuple[nn.Module, tuple[tuple[int, ...], ...], int]] = {
    "_both: a vector is spread over columns": (
        Does(lambda self, x: self.a(x).mean((2, 3), keepdim=True) + self.p, a=nn.Conv2d(3, 3, 1), p=torch.randn(3)), (IMAGE,), 2
    ),
    "_both: a vector is spread over tokens of one channel": (Does(lambda self, x: x + self.p, p=torch.randn(5)), ((5, 1),), 2),
    "_both: a matrix is spread over channels": (
        Does(lambda self, x: self.a(x) + self.p, a=nn.Conv2d(3, 3, 1), p=torch.randn(3, 3)), ((3, 1, 3),), 2
    ),
    "_batch_norm: channels of (N, C, L) are taken for tokens": (nn.BatchNorm1d(4), ((4, 4),), 2),
    "_batch_norm: of (N, C, L), refused by Net only": (nn.BatchNorm1d(4), ((4, 5),), 2),
    "_slice: the end of a slice with a step is forgotten": (Does(lambda self, x: x[:, :, :4:2]), ((3, 8, 8),), 2),
    "_max_pool: indices": (nn.MaxPool2d(2, return_indices=True), (IMAGE,), 2),
    "all: an output that is None": (Does(lambda self, x: (self.a(x), None), a=nn.Linear(8, 2)), (FEATURES,), 2),
    "all: an output that is a number": (Does(lambda self, x: (self.a(x), 3), a=nn.Linear(8, 2)), (FEATURES,), 2),
    "lower: an image of one pixel, pooled, is no features": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(6), nn.Flatten(), nn.Linear(4, 2)), ((1, 8, 8),), 2
    ),
    "lower: an image of one pixel, convolved, is no features": (
        nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten(), nn.Linear(4, 2)), ((1, 8, 8),), 2
    ),
    "lower: features are no image of one pixel": (
        Does(lambda self, x: self.a(x.reshape(-1, 8, 1, 1)), a=nn.Conv2d(8, 2, 1)), (FEATURES,), 2
    ),
    "lower: squeeze and excitation": (
        Does(lambda self, x: excited(x, self), a=nn.Conv2d(3, 2, 1), b=nn.Conv2d(2, 3, 1)), (IMAGE,), 2
    ),
    "lower: a mean that keeps its dimensions": (Does(lambda self, x: x.mean((2, 3), keepdim=True)), (IMAGE,), 2),
    "_select: the only token": (Does(lambda self, x: self.a(x[:, 0]), a=nn.Linear(8, 2)), ((1, 8),), 2),
    "_reshape: the only token": (Does(lambda self, x: self.a(x.squeeze(1)), a=nn.Linear(8, 2)), ((1, 8),), 2),
    "_reshape: features as a token": (Does(lambda self, x: self.a(x.unsqueeze(1)), a=nn.Linear(8, 2)), (FEATURES,), 2),
    "lower: softmax of an image before a padded convolution": (
        Does(lambda self, x: self.b(self.a(x).softmax(1)), a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 3, padding=1)), (IMAGE,), 2
    ),
    "_attention: other tokens as keys": (
        Does(lambda self, x, y: joined(F.scaled_dot_product_attention(
            self.a(x).reshape(-1, 7, 2, 4).transpose(1, 2), *[self.b(y).reshape(-1, 5, 2, 4).transpose(1, 2)] * 2
        )), a=nn.Linear(8, 8), b=nn.Linear(8, 8)), (TOKENS, (5, 8)), 2,
    ),
    "_stages: inputs in the order in which they are read": (
        Does(lambda self, x, y: self.b(y) + self.a(x), a=nn.Linear(8, 2), b=nn.Linear(4, 2)), (FEATURES, (4,)), 2
    ),
    "_stages: outputs in the order in which they are made": (
        Does(lambda self, x: (lambda a: (self.b(a), a))(self.a(x)), a=nn.Linear(8, 2), b=nn.Linear(2, 2)), (FEATURES,), 2
    ),
    "_stages: an input that comes out again": (Does(lambda self, x: (self.a(x), x), a=nn.Linear(8, 2)), (FEATURES,), 2),
    "_stages: an output twice": (Does(lambda self, x: (lambda a: (a, a))(self.a(x)), a=nn.Linear(8, 2)), (FEATURES,), 2),
    "graph: a last reshape is left to torch": (
        Does(lambda self, x: self.a(x).flatten(2), a=nn.Conv2d(3, 2, 1)), (IMAGE,), 2
    ),
    "unknown: empty though there is no graph": (Does(lambda self, x: x.flatten(2)), (IMAGE,), 2),
    "kernels.inc: a mean after a padded pool": (Does(lambda self, x: F.max_pool2d(x, 3, 2, 1).mean((2, 3))), (IMAGE,), 2),
}  # fmt: skip


def right_or_refused(model: nn.Module, *inputs: Tensor) -> None:
    found = capture(random_statistics(model), inputs)
    if found.graph is None:
        assert found.unknown
    else:
        check(found, model, *inputs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", WRONG)
def test_what_is_captured_is_right(what):
    torch.manual_seed(0)
    model, shapes, count = WRONG[what]
    right_or_refused(model, *(torch.randn(count, *shape) for shape in shapes))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu())


def test_tied_weights():
    model = Tied().eval()
    check(capture(model, torch.randn(1, 8)), model, torch.randn(3, 8))


def test_tied_weights_with_a_mask():
    model = Tied().eval()
    mask = select(model, 0.5).apply_(model)
    check(capture(model, torch.randn(1, 8), stored_tensors(model, mask)), model, torch.randn(3, 8))


# -- any network --------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """Two branches added or multiplied."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, last: nn.Module, *, multiplied: bool) -> None:
        super().__init__()
        self.body, self.shortcut, self.last, self.multiplied = body, shortcut, last, multiplied

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.body(x), self.shortcut(x)
        return self.last(a * b if self.multiplied else a + b)


def random_network(seed: int) -> tuple[nn.Module, tuple[int, int, int]]:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    shape = (rng.randint(1, 4), rng.randint(6, 20), rng.randint(6, 20))
    channels, sides, layers = shape[0], list(shape[1:]), []

    def activation() -> nn.Module:
        return rng.choice([nn.Identity, nn.ReLU, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Hardswish, nn.Tanh])()

    def layer(inputs: int, outputs: int, size: int, stride: int) -> nn.Module:
        groups = inputs if inputs == outputs and rng.random() < 0.2 else 1
        made = [nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=rng.random() < 0.5)]
        made += [nn.BatchNorm2d(outputs)] if rng.random() < 0.6 else []
        return nn.Sequential(*made)

    for _ in range(rng.randint(1, 4)):
        kind = rng.choice(["layer", "layer", "residual", "residual", "pool", "norm"])
        outputs, size, stride = rng.choice([channels, rng.randint(1, 9)]), rng.choice([1, 3, 5]), rng.choice([1, 1, 2])
        if kind == "layer":
            layers += [layer(channels, outputs, size, stride), activation()]
        elif kind == "residual":
            body = nn.Sequential(layer(channels, outputs, size, stride), activation(), layer(outputs, outputs, 3, 1))
            short = layer(channels, outputs, 1, stride)
            if stride == 1 and outputs == channels and rng.random() < 0.5:
                short = nn.Identity()
            pair = [body, short] if rng.random() < 0.7 else [short, body]
            layers.append(Residual(*pair, activation(), multiplied=rng.random() < 0.2))
        elif kind == "norm":
            layers += [nn.BatchNorm2d(channels), activation()]
            outputs, stride = channels, 1
        else:
            layers += [rng.choice([nn.MaxPool2d, nn.AvgPool2d])(3, stride, 1), nn.ReLU()]
            outputs = channels
        channels, sides = outputs, [(side - 1) // stride + 1 for side in sides]
    if rng.random() < 0.5 or sides == [1, 1]:  # an image of one pixel, flattened, is among WRONG
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        features = channels
    else:
        layers += [nn.Flatten()]
        features = channels * sides[0] * sides[1]
    layers += [nn.Linear(features, rng.randint(1, 7))]
    model = random_statistics(nn.Sequential(*layers))
    for parameter in model.parameters():
        if parameter.dim() > 1 and rng.random() < 0.7:
            with torch.no_grad():
                parameter.mul_(torch.rand(parameter.shape) < rng.choice([0.05, 0.3]))
    return model, shape


def any_network(seed: int) -> None:
    model, shape = random_network(seed)
    found = capture(model, torch.randn(2, *shape))
    for count in (1, 3, 18):
        with torch.no_grad():
            exact = model.double()(x := torch.randn(count, *shape, dtype=torch.float64))
            usual = model.float()(x.float())
        assert found.graph is not None, found.unknown
        made = Net(found.graph, found.tensors, threads=1 + seed % 3, kernels=KERNELS[seed % len(KERNELS)])(x.numpy())
        own = float((usual - exact).abs().max())  # torch's own rounding
        assert np.abs(made - exact.numpy()).max() <= 20 * own + 1e-5 * float(exact.abs().max())


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6))
def test_any_network_computes_what_torch_does(seed):
    any_network(seed)


@pytest.mark.long
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6))
def test_many_networks_compute_what_torch_does(seed):
    any_network(seed)


SHARED = {
    "a part": lambda self, x: self.b(_part(self.a(x))),
    "another form of it": lambda self, x: (lambda y: self.b(y + F.relu_(y.view(-1, 2, 2)).flatten(1)))(self.a(x)),
    "what torch does": lambda self, x: (lambda y: self.b(y + y[:, :4].clamp_(0, 1)))(self.a(x)),
}


def _part(y: Tensor) -> Tensor:
    y[:, :2].relu_()
    return y


@pytest.mark.parametrize("what", SHARED)
def test_what_is_changed_in_place_and_read_again_is_left_to_torch(what):
    torch.manual_seed(0)
    model = Does(SHARED[what], a=nn.Linear(3, 4), b=nn.Linear(4, 2)).eval()
    found = capture(model, torch.zeros(1, 3))
    assert found.graph is None
    assert any("changes in place what is read again elsewhere" in text for text in found.unknown)


def test_what_is_changed_in_place_and_read_under_its_new_name_alone_is_captured():
    def forward(self, x):
        y = F.relu_(self.a(x))
        return self.b(F.relu_(y.flatten(1)).add_(self.a(x)))

    torch.manual_seed(0)
    model = Does(forward, a=nn.Linear(3, 4), b=nn.Linear(4, 2)).eval()
    check(capture(model, torch.randn(2, 3)), model, torch.randn(5, 3))


def test_every_module_is_in_its_own_mode_again():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4).eval(), nn.Linear(4, 2))
    capture(net, torch.zeros(1, 3))
    assert [module.training for module in net] == [True, False, True]
