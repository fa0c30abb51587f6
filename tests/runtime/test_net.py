"""Networks on the engine: the same bits whoever calls and on however many threads, and one sentence for a mistake."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lehr.base.errors import LehrError
from lehr.runtime import native as engine
from lehr.runtime.lowering.layout import LANES
from lehr.runtime.net import MANY, Net
from lehr.runtime.plans import Plan
from lehr.runtime.values import rounded, to_float32
from tests.runtime.nets import KERNELS, NO_ENGINE, conv, graph, node, stored

needs_engine = pytest.mark.skipif(not KERNELS, reason=NO_ENGINE)
RNG = np.random.default_rng(0)


def sparse(*shape: int) -> np.ndarray:
    return np.where(RNG.random(shape) < 0.2, RNG.normal(size=shape), 0)


IMAGES = graph(
    {"x": (3, 12, 12)},
    conv("x", "a", "w1", bias="b", padding=[1, 1]),
    node("activation", "a", "b", kind="relu"),
    conv("b", "c", "w2", padding=[1, 1]),
    node("add", "c b", "d"),
    node("max_pool", "d", "e", kernel=[3, 3], stride=[2, 2], padding=[1, 1], dilation=[1, 1]),
    conv("e", "f", "w2", stride=[2, 2]),
    node("mean", "f", "g"),
    node("linear", "g", "h", weight="head"),
)
IMAGE_TENSORS = stored(
    w1=sparse(8, 3, 3, 3), w2=sparse(8, 8, 3, 3), b=RNG.normal(size=8), head=RNG.normal(size=(5, 8))
)  # fmt: skip
TOKENS = graph(
    {"x": (21, 16)},
    node("layer_norm", "x", "n", epsilon=1e-5),
    node("linear", "n", "s", weight="qkv"),
    *[node("slice", "s", name, first=16 * i, channels=16) for i, name in enumerate("qkv")],
    node("attention", "q k v", "a", heads=2, scale=0.3, causal=False),
    node("linear", "a", "o", weight="out"),
    node("add", "o x", "p"),
    node("mean", "p", "y"),
)
TOKEN_TENSORS = stored(qkv=sparse(48, 16), out=RNG.normal(size=(16, 16)))
FEATURES = graph(
    {"x": (30,)}, node("linear", "x", "a", weight="w1"), node("activation", "a", "b", kind="gelu"),
    node("linear", "b", "y", weight="w2"),
)  # fmt: skip
FEATURE_TENSORS = stored(w1=sparse(70, 30), w2=RNG.normal(size=(10, 70)))
KINDS = {
    "images": (IMAGES, IMAGE_TENSORS), "tokens": (TOKENS, TOKEN_TENSORS), "features": (FEATURES, FEATURE_TENSORS)
}  # fmt: skip
all_kinds = pytest.mark.parametrize("kind", KINDS)


def net_of(kind: str, **options) -> Net:
    return Net(*KINDS[kind], **{"threads": 1, **options})


def batch(kind: str, count: int) -> np.ndarray:
    (_, shape) = KINDS[kind][0].inputs[0]
    return np.random.default_rng(count).normal(size=(count, *shape)).astype(np.float32)


@needs_engine
@all_kinds
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("count", [1, 2, 20, 100])
def test_the_bits_are_the_same_for_any_number_of_threads(kind, count, kernels):
    x = batch(kind, count)
    one = net_of(kind, kernels=kernels)(x)
    for threads in (2, 3):
        net = net_of(kind, kernels=kernels, threads=threads)
        assert all(np.array_equal(net(x), one) for _ in range(3)), threads


@needs_engine
@all_kinds
def test_all_kernels_agree(kind):
    x = batch(kind, 17)
    found = [net_of(kind, kernels=name)(x) for name in KERNELS]
    for other in found:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-6 * np.abs(found[0]).max() * 5)


@needs_engine
@all_kinds
@pytest.mark.parametrize("threads", [1, 3])
def test_calls_from_several_threads_are_in_order(kind, threads):
    net = net_of(kind, threads=threads)
    inputs = [batch(kind, count) for count in (1, 3, 20, 33)]
    wanted = [net_of(kind)(x) for x in inputs]
    barrier = threading.Barrier(4)

    def call(first: int) -> bool:
        barrier.wait()
        return all(np.array_equal(net(inputs[i % 4]), wanted[i % 4]) for i in range(first, first + 12))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(4)))


@needs_engine
@pytest.mark.parametrize("dtype", LANES)
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("count", [1, 2, 20, 100])
def test_any_number_of_patches_gives_the_same_numbers(dtype, kernels, count):
    x = batch("images", count)
    wanted = net_of("images")(x)
    one = net_of("images", kernels=kernels, dtype=dtype, threads=2)
    for patches in (LANES[dtype], 16, 8, 4, 2, 1):
        one.use(count >= MANY, Plan(patches))
        np.testing.assert_allclose(
            one(x), wanted, rtol=0, atol={"fp32": 2e-6, "bf16": 2e-2}[dtype] * np.abs(wanted).max()
        )


def half(x: np.ndarray) -> np.ndarray:
    """Rounded to bf16."""
    return to_float32(rounded(np.asarray(x, dtype=np.float32), "F32", "BF16"), "BF16")


@needs_engine
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("count", [1, 40])
def test_in_bf16_weights_and_activations_are_rounded_and_nothing_else(kernels, count):
    """To the nearest; sums and biases are not."""
    weights = [half(FEATURE_TENSORS[name].dense()).astype(np.float64) for name in ("w1", "w2")]
    g = graph(
        {"x": (30,)}, node("linear", "x", "a", weight="w1"), node("activation", "a", "b", kind="relu"),
        node("linear", "b", "y", weight="w2"),
    )  # fmt: skip
    x = np.random.default_rng(3).normal(size=(count, 30)).astype(np.float32)
    middle = half(np.maximum(half(x).astype(np.float64) @ weights[0].T, 0))
    exact = middle.astype(np.float64) @ weights[1].T
    found = Net(g, FEATURE_TENSORS, threads=2, kernels=kernels, dtype="bf16")(x)
    assert np.array_equal(found, half(found)), "the outputs are numbers of bf16"
    step = np.abs(exact) * 2.0**-8 + 1e-6  # a number between two of bf16 may fall to either, once the sums are fp32
    assert (np.abs(found - exact) <= step + 2.0**-8 * np.abs(weights[1]).max() * np.abs(middle).max()).all()
    assert (np.abs(found - half(exact)) <= 1e-7).mean() > 0.9, "most are the nearest"


@needs_engine
@pytest.mark.parametrize("kernels", KERNELS)
def test_in_bf16_an_input_further_than_two_bytes_can_tell(kernels):
    """9 x 90 x 90 lines: offsets above 65,535 keep their four bytes."""
    g = graph({"x": (9, 90, 90)}, conv("x", "y", "w", padding=[1, 1]))
    tensors = stored(w=sparse(4, 9, 3, 3))
    x = np.random.default_rng(0).normal(size=(40, 9, 90, 90)).astype(np.float32)
    wanted = Net(g, tensors, threads=2)(x)
    net = Net(g, tensors, threads=2, kernels=kernels, dtype="bf16")
    net.use(True, Plan(1))
    ((_, told),) = [one for one in net.program(True)[1].operations if one[0] == "convolution"]
    assert told["offsets"].max() > 65_535
    assert np.abs(net(x) - wanted).max() < 1e-2 * np.abs(wanted).max()


@needs_engine
def test_what_is_no_number_stays_so_in_bf16():
    g = graph({"x": (4,)}, node("activation", "x", "y", kind="relu6"), node("add", "y x", "z"))
    x = np.array([[np.nan, np.inf, -np.inf, 3.0]], dtype=np.float32)
    found = Net(g, {}, threads=1, dtype="bf16")(x)
    assert np.array_equal(found, Net(g, {}, threads=1)(x), equal_nan=True)
    assert np.isnan(found[0, 0])


@needs_engine
@pytest.mark.parametrize(
    ("kind", "dtype", "message"),
    [
        ("tokens", "bf16", "bf16 is for images and features"),
        ("images", "fp16", "there is no dtype 'fp16'"),
    ],
)
def test_a_dtype_that_cannot_be(kind, dtype, message):
    with pytest.raises(LehrError, match=message):
        net_of(kind, dtype=dtype)


@needs_engine
def test_two_networks_at_once():
    nets = {kind: net_of(kind, threads=2) for kind in KINDS}
    wanted = {kind: net_of(kind)(batch(kind, 5)) for kind in KINDS}

    def call(kind: str) -> bool:
        return all(np.array_equal(nets[kind](batch(kind, 5)), wanted[kind]) for _ in range(15))

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(call, KINDS))


@needs_engine
@all_kinds
def test_a_batch_is_its_parts(kind):
    net, x = net_of(kind), batch(kind, 20)
    whole = net(x)
    bound = 1e-6 * np.abs(whole).max()
    for cut in (1, 4, 16, 19):
        parts = np.concatenate([net(x[:cut]), net(x[cut:])])
        np.testing.assert_allclose(parts, whole, rtol=0, atol=2 * bound)
        if cut >= MANY or net.ways(many=False) == net.ways(many=True):
            assert np.array_equal(parts[:cut], whole[:cut]), "the same lanes, the same bits"


@needs_engine
def test_inputs_of_other_kinds_are_converted():
    net = net_of("images")
    x = np.random.default_rng(0).integers(0, 255, (3, 3, 12, 12))
    wanted = net(x.astype(np.float32))
    for dtype in (np.uint8, np.int64, np.float64, np.float16):
        assert np.array_equal(net(x.astype(dtype)), wanted)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).astype(np.float32).transpose(0, 3, 1, 2)
    assert not turned.flags["C_CONTIGUOUS"]
    assert np.array_equal(net(turned), wanted)
    assert np.array_equal(net(np.repeat(x, 2, 0)[::2]), wanted)
    assert np.array_equal(net(np.ascontiguousarray(x[::-1])[::-1]), wanted), "strides below 0"
    fixed = x.astype(np.float32)
    fixed.flags.writeable = False
    assert np.array_equal(net(fixed), wanted)
    assert np.array_equal(net(np.broadcast_to(fixed[:1], fixed.shape))[2], wanted[0])


@needs_engine
@all_kinds
def test_an_empty_batch_is_an_empty_output(kind):
    net = net_of(kind)
    shape = net(batch(kind, 2)).shape
    assert net(batch(kind, 2)[:0]).shape == (0, *shape[1:])


@needs_engine
def test_several_inputs_and_outputs():
    two = graph(
        {"x": (4,), "y": (2, 3, 3)}, node("mean", "y", "m"), node("linear", "x", "z", weight="w"), outputs="z m x"
    )
    x, y = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 2, 3, 3))
    z, m, same = Net(two, stored(w=np.eye(4)[:3]), threads=1)(x, y)
    np.testing.assert_allclose(z, x[:, :3].astype(np.float32))
    np.testing.assert_allclose(m, y.mean((2, 3)), rtol=1e-6, atol=1e-7)
    assert np.array_equal(same, x.astype(np.float32))


def wrong(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [np.zeros(shape, dtype=np.float32) for shape in shapes]


@needs_engine
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (wrong((2, 3, 12, 11)), r"^x has shape \(2, 3, 12, 11\) and the network takes \(batch, 3, 12, 12\)$"),
        (wrong((3, 12, 12)), r"^x has shape \(3, 12, 12\) and the network takes \(batch, 3, 12, 12\)$"),
        (wrong(()), "x has shape .* and the network takes"),
        (wrong(), "the network takes 1 inputs: give them all"),
        (wrong((1, 3, 12, 12), (1, 3, 12, 12)), "the network takes 1 inputs: give them all"),
    ],
)
def test_inputs_of_another_shape_are_told(inputs, message):
    with pytest.raises(LehrError, match=message):
        net_of("images")(*inputs)


@needs_engine
def test_batches_of_two_sizes_are_told():
    two = graph({"x": (4,), "y": (4,)}, node("add", "x y", "z"))
    with pytest.raises(LehrError, match=r"the inputs have batches of \[2, 3\]: give one size"):
        Net(two, {}, threads=1)(*wrong((2, 4), (3, 4)))


@needs_engine
def test_what_is_no_array_of_numbers_is_told():
    try:
        net_of("features")(np.array([["text"] * 30]))
    except LehrError:
        return


@needs_engine
@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_a_number_of_threads_that_cannot_be_is_told(threads):
    with pytest.raises(LehrError, match=rf"threads is {threads}: give a number from 1"):
        net_of("features", threads=threads)


@needs_engine
def test_kernels_that_this_processor_does_not_run_are_told():
    with pytest.raises(LehrError, match="this processor does not run the kernels 'mmx': leave kernels out"):
        net_of("features", kernels="mmx")


@needs_engine
def test_the_best_kernels_are_the_default():
    assert Net(FEATURES, FEATURE_TENSORS).kernels == KERNELS[0]


def test_without_the_compiled_module_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(engine, "_found", None)
    assert not engine.available()
    with pytest.raises(
        LehrError, match=r"the compiled part of lehr is not there: install a C\+\+ compiler, then pip install"
    ):
        Net(FEATURES, FEATURE_TENSORS)


@needs_engine
def test_attention_after_tokens_of_one_channel():
    tokens = graph({"x": (5, 1)}, node("linear", "x", "a", weight="w"), node(
        "attention", "a a a", "y", heads=1, scale=1.0, causal=False
    ))  # fmt: skip
    assert Net(tokens, stored(w=np.ones((4, 1))), threads=1)(np.zeros((2, 5, 1))).shape == (2, 5, 4)


def in_child(net: Net, x: np.ndarray, wanted: np.ndarray, results) -> None:
    results.put(bool(np.array_equal(net(x), wanted)))


@needs_engine
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("count", [1, 40])
def test_it_works_in_a_child_after_the_parent_has_run(count):
    net, x = net_of("images", threads=3), batch("images", count)
    wanted = net(x)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=in_child, args=(net, x, wanted, results))
    child.start()
    try:
        assert results.get(timeout=60), "the child has the same bits"
        child.join(60)
        assert child.exitcode == 0
    finally:
        child.kill()
    assert np.array_equal(net(x), wanted), "and so has the parent afterwards"
