"""What computes: convolutions, products, norms, activations, sums, pools, attention."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lehr.deploy import views
from lehr.deploy.capture.rule import RULES, Rule, Unknown, name_of, pair, rows_view, rule, stored_of
from lehr.deploy.views import View
from lehr.runtime.tensors import Stored

if TYPE_CHECKING:
    from lehr.deploy.capture.translation import Translation


@rule("conv2d", "convolution")
def _conv(
    t: Translation,
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
    view, stored = t.image(x), stored_of(weight, "weight")
    padding = [0, 0] if padding == "valid" else pair(padding)
    name = t.emit(
        "conv", [view.value], node.name, weight=stored.name, bias=name_of(bias, "bias"), stride=pair(stride), padding=padding,
        dilation=pair(dilation), groups=int(groups),
    )  # fmt: skip
    return views.image(name, *node.meta["val"].shape)


@rule("linear")
def _linear(t: Translation, node: Any, x: Any, weight: Any, bias: Any = None) -> View:
    value, before = t.rows(x)
    stored = stored_of(weight, "weight")
    name = t.emit("linear", [value], node.name, weight=stored.name, bias=name_of(bias, "bias"))
    return rows_view(name, before, stored.shape[0])


@rule("batch_norm", "_native_batch_norm_legit_no_training")
def _batch_norm(
    t: Translation, node: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *rest: Any
) -> View:
    if len(rest) > 3 and rest[0]:
        raise Unknown("a batch-norm in training mode")
    epsilon = rest[2] if len(rest) > 3 else rest[1]
    value, view = t.canonical(x)
    if len(view.shape) == 3:
        raise Unknown("a batch-norm over sequences")
    name = t.emit(
        "batch_norm", [value], node.name, weight=name_of(weight, "weight"), bias=name_of(bias, "bias"),
        mean=stored_of(mean, "mean").name, variance=stored_of(variance, "variance").name, epsilon=float(epsilon),
    )  # fmt: skip
    return t.like(view, name)


def _active(kind: str) -> Rule:
    def translate(t: Translation, node: Any, x: Any, *rest: Any, **options: Any) -> View:
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
def _both(t: Translation, node: Any, a: Any, b: Any, alpha: Any = 1) -> View:
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
    t: Translation,
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
        "max_pool", [view.value], node.name, kernel=pair(kernel), stride=pair(stride or kernel), padding=pair(padding),
        dilation=pair(dilation),
    )  # fmt: skip
    return views.image(name, *node.meta["val"].shape)


@rule("avg_pool2d")
def _avg_pool(
    t: Translation, node: Any, x: Any, kernel: Any, stride: Any = (), padding: Any = 0, ceil: bool = False, counted: bool = True,
    divisor: Any = None,
) -> View:  # fmt: skip
    if ceil or divisor is not None or (not counted and any(pair(padding))):
        raise Unknown("average pooling with ceil_mode, a divisor, or uncounted padding")
    view = t.image(x)
    name = t.emit(
        "avg_pool",
        [view.value],
        node.name,
        kernel=pair(kernel),
        stride=pair(stride or kernel),
        padding=pair(padding),
    )
    return views.image(name, *node.meta["val"].shape)


@rule("adaptive_avg_pool2d")
def _adaptive(t: Translation, node: Any, x: Any, size: Any) -> View:
    view = t.image(x)
    wanted, (batch, channels, *have) = pair(size), view.shape
    if wanted == [1, 1]:
        return views.image(t.emit("mean", [view.value], node.name), batch, channels, 1, 1)
    if any(h % w for h, w in zip(have, wanted, strict=True)):
        raise Unknown(f"adaptive pooling of {have} to {wanted}")
    cells = [h // w for h, w in zip(have, wanted, strict=True)]
    name = t.emit("avg_pool", [view.value], node.name, kernel=cells, stride=cells, padding=[0, 0])
    return views.image(name, batch, channels, *wanted)


@rule("mean")
def _mean(t: Translation, node: Any, x: Any, dims: Any = None, keep: bool = False, **_: Any) -> View:
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


@rule("layer_norm")
def _layer_norm(
    t: Translation,
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
        weight=name_of(weight, "weight"),
        bias=name_of(bias, "bias"),
        epsilon=float(epsilon),
    )
    return t.like(view, name)


@rule("softmax", "_softmax")
def _softmax(t: Translation, node: Any, x: Any, dim: int, *_: Any) -> View:
    value, view = t.canonical(x)
    channel = 1 if len(view.shape) == 4 else len(view.shape) - 1
    if dim % len(view.shape) != channel:
        raise Unknown("a softmax over anything but channels")
    return t.like(view, t.emit("softmax", [value], node.name))


@rule("scaled_dot_product_attention")
def _attention(
    t: Translation, node: Any, q: Any, k: Any, v: Any, mask: Any = None, dropout: float = 0.0, causal: bool = False, **options: Any
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
