"""A compiled network gives what the network gives, whatever of it the engine knows."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

import lehr
from lehr import LehrError
from lehr.models import create
from lehr.runtime import native as native_part

needs_engine = pytest.mark.skipif(not native_part.available(), reason=native_part.REASON)
pytestmark = needs_engine


class Mixed(nn.Module):
    """Something between two convolutions that only torch has, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = torch.fft.fft2(self.first(x).relu()).abs()
        x = self.second(x).relu()
        return self.head(x.amax((2, 3))), x.flip(3)


class Branches(nn.Module):
    """Goes one way or the other by what it is given."""

    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


def close(found, wanted) -> bool:
    return bool(torch.allclose(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max())))


def small(name: str = "resnet20") -> nn.Module:
    torch.manual_seed(0)
    model = create(name, num_classes=10)
    lehr.prune(model, 0.9, scope="layer")
    return model.eval()


@pytest.mark.parametrize("wrapper", ["batch-ensemble-2", "mimo-2", "tree-2", "dropout-0.1"])
@pytest.mark.parametrize("name", ["lenet_300_100", "resnet20"])
@pytest.mark.parametrize("count", [1, 2])
def test_networks_that_are_ensembles_by_themselves_give_what_they_give(wrapper, name, count):
    torch.manual_seed(0)
    model = create(f"{wrapper}:{name}", num_classes=10, input_shape=(3, 16, 16)).eval()
    images = torch.randn(count, 3, 16, 16)
    fast = lehr.compile(model, images, threads=1, measure=False)
    with torch.no_grad():
        assert close(fast(images), model(images))


@pytest.mark.parametrize("measure", [False, True])
def test_tensors_for_tensors_and_arrays_for_arrays_of_any_batch(measure):
    model = small()
    fast = lehr.compile(model, torch.randn(1, 3, 32, 32), threads=2, measure=measure)
    for count in (1, 3, 20):
        images = torch.randn(count, 3, 32, 32)
        with torch.no_grad():
            wanted = model(images)
        assert close(fast(images), wanted)
        array = fast(images.numpy())
        assert isinstance(array, np.ndarray)
        assert close(torch.from_numpy(array), wanted)
    assert fast.report.torch == ()
    assert bool(fast.report.layers) == measure


def test_the_network_is_left_alone_and_later_changes_do_not_reach_the_compiled_one():
    model = small().train()
    before = copy.deepcopy(model.state_dict())
    images = torch.randn(2, 3, 32, 32)
    fast = lehr.compile(model, images, measure=False)
    first = fast(images)
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert torch.equal(fast(images), first)


def test_what_the_engine_does_not_know_is_done_by_torch_and_named():
    model, images = Mixed().eval(), torch.randn(4, 3, 8, 8)
    fast = lehr.compile(model, images, measure=False)
    assert any("fft" in text for text in fast.report.torch)
    assert any("flip" in text for text in fast.report.torch)
    for count in (4, 2):  # torch's part was recorded for four
        given = images[:count]
        with torch.no_grad():
            wanted = model(given)
        assert all(close(a, b) for a, b in zip(fast(given), wanted, strict=True))


def test_a_network_that_cannot_be_followed_is_left_to_torch_whole():
    fast = lehr.compile(Branches(), torch.ones(1, 3), measure=False)
    assert len(fast.report.torch) == 1
    assert "the whole network" in fast.report.torch[0]
    assert fast(-torch.ones(2, 3)).tolist() == (-torch.ones(2, 3)).tolist()


@pytest.mark.parametrize("name", ["gpt_mini", "text_encoder"])
def test_text_networks_have_their_embedding_from_torch(name):
    classes = 65 if name == "gpt_mini" else 2
    model = create(name, num_classes=classes, vocabulary=65, context=64, input_shape=(64,)).eval()
    tokens = torch.randint(1, 65, (2, 64))
    fast = lehr.compile(model, tokens, measure=False)
    with torch.no_grad():
        assert close(fast(tokens), model(tokens))
    assert any("embedding" in text for text in fast.report.torch)
    assert fast.report.engine != "none", "the rest is the engine's"


def test_a_result_that_is_not_that_of_torch_is_never_given(monkeypatch):
    from lehr.runtime.net import Net

    real = Net.__call__
    monkeypatch.setattr(Net, "__call__", lambda self, *inputs: real(self, *inputs) + 1.0)
    model, images = small(), torch.randn(1, 3, 32, 32)
    fast = lehr.compile(model, images, measure=False)
    assert "differs from torch's" in fast.report.torch[-1]
    with torch.no_grad():
        assert torch.equal(fast(images), model(images))


def test_without_the_compiled_part_torch_does_everything_and_it_is_said(monkeypatch):
    monkeypatch.setattr(native_part, "_found", None)
    model, images = small(), torch.randn(1, 3, 32, 32)
    fast = lehr.compile(model, images)
    with torch.no_grad():
        assert torch.equal(fast(images), model(images))
    assert "install a C++ compiler" in str(fast.report)


class Strange(nn.Module):
    """Torch's own operations in forms that no rule takes, and a layer that cannot be lowered beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x):
        y = self.layer(x)
        return y.softmax(0) + 2 * y.mean().reshape(1, 1) - torch.relu(y)[..., None].squeeze(-1) + y.mul(3)


@pytest.mark.parametrize("threads", [None, 1])
def test_whatever_a_network_brings_it_is_not_refused(monkeypatch, threads):
    model, x = Strange().eval(), torch.randn(4, 6)
    fast = lehr.compile(model, x, threads=threads, measure=False)
    with torch.no_grad():
        assert close(fast(x), model(x))
    from lehr.deploy import compile as module

    def refuse(*_, **__):
        raise LehrError("it cannot be lowered")

    monkeypatch.setattr(module, "Net", refuse)
    fast = lehr.compile(small(), torch.randn(1, 3, 32, 32), threads=threads, measure=False)
    assert "it cannot be lowered" in fast.report.torch[-1]


def test_what_a_shortcut_passes_on_is_not_rounded_with_the_weights(tmp_path):
    from lehr.runtime import load

    model = small()  # resnet20 passes channels on by ones of the graph's own
    lehr.save(
        model,
        tmp_path / "f.lehr",
        mask=lehr.Mask.from_zeros(model),
        values="int8",
        example_inputs=torch.randn(1, 3, 32, 32),
    )
    own = [t for name, t in load(tmp_path / "f.lehr").tensors.items() if name.startswith("graph:")]
    assert own
    assert all((t.values == 1.0).all() for t in own)


@pytest.mark.parametrize("last", [nn.LayerNorm(6), nn.Softmax(-1), nn.Sequential(nn.LayerNorm(6), nn.Softmax(-1))])
def test_what_bf16_cannot_do_is_done_in_fp32(last):
    model, x = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), last).requires_grad_(False), torch.randn(3, 9)
    fast = lehr.compile(model, x, dtype="bf16")
    assert close(fast(x), model(x))
    assert not fast.report.torch
    assert "bf16" not in fast.report.engine


def test_the_report_tells_each_layer():
    text = str(lehr.compile(small(), torch.randn(1, 3, 32, 32), threads=1).report)
    assert text.startswith("engine: ")
    assert "sparse, " in text


def test_several_threads_at_once_give_the_same_bits():
    model = small()
    fast = lehr.compile(model, torch.randn(1, 3, 32, 32), threads=2, measure=False)
    images = torch.randn(3, 3, 32, 32)
    wanted, found = fast(images), []
    workers = [threading.Thread(target=lambda: found.append(fast(images))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(torch.equal(one, wanted) for one in found)


def test_bad_arguments_are_one_sentence():
    with pytest.raises(LehrError, match="does not run the kernels 'neon9'"):
        lehr.compile(small(), torch.randn(1, 3, 32, 32), kernels="neon9")
    with pytest.raises(LehrError, match="threads is 0"):
        lehr.compile(small(), torch.randn(1, 3, 32, 32), threads=0)
    fast = lehr.compile(small(), torch.randn(1, 3, 32, 32), measure=False)
    with pytest.raises(LehrError, match="the network takes"):
        fast(torch.randn(1, 3, 30, 32))


@pytest.mark.parametrize("pack", [lambda y: {"logits": y}, lambda y: (y, (y, y))])
def test_outputs_of_another_form_are_left_to_torch(pack):
    class Packs(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return pack(self.layer(x))

    model, x = Packs().eval(), torch.randn(2, 3)
    fast = lehr.compile(model, x)
    if native_part.available():
        assert any("its outputs are neither a tensor nor several in a row" in text for text in fast.report.torch)
    with torch.no_grad():
        assert str(fast(x)) == str(model(x))
