"""Built-in networks against the published ones, and what users bring."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn

from lehr import LehrError
from lehr.models import create, models
from lehr.models.gpt import GPT
from lehr.models.text_encoder import TextEncoder
from lehr.models.transformer import Attention

TEXT = ("gpt_mini", "gpt_char", "text_encoder")
IMAGES = (*(name for name in models if name not in TEXT), "wrn_10_1", "wrn_16_4")
IMAGENET = {"num_classes": 1000, "input_shape": (3, 224, 224)}
WORDS = {"num_classes": 2, "input_shape": (9,), "vocabulary": 11, "context": 9}
CHARACTERS = {"num_classes": 11, "input_shape": (9,), "vocabulary": 11, "context": 9}


def on_meta(name: str, **sizes: Any) -> nn.Module:
    """The network without its numbers: nothing is initialised or computed."""
    with torch.device("meta"):
        return create(name, **sizes)


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


PUBLISHED = [
    # LeCun et al. 1998 in the variants of the pruning literature; Tanaka et al. 2020
    ("lenet_300_100", {}, 266_610),
    ("lenet5", {}, 431_080),
    ("mlp_6_100", {}, 119_910),
    # He et al. 2015: 0.27 M, 0.46 M, 0.85 M for CIFAR-10
    ("resnet20", {}, 269_722),
    ("resnet32", {}, 464_154),
    ("resnet56", {}, 853_018),
    ("resnet18", {}, 11_173_962),
    # torchvision's table
    ("resnet18", IMAGENET, 11_689_512),
    ("resnet34", IMAGENET, 21_797_672),
    ("resnet50", IMAGENET, 25_557_032),
    # Zagoruyko & Komodakis 2016: 36.5 M, 2.2 M, 2.7 M
    ("wrn_28_10", {}, 36_479_194),
    ("wrn_40_2", {}, 2_243_546),
    ("wrn_16_4", {}, 2_748_890),
    # batch-norm after every convolution, one linear layer
    ("vgg11", {}, 9_231_114),
    ("vgg16", {}, 14_728_266),
    ("vgg19", {}, 20_040_522),
    # Touvron et al. 2020: 5.7 M
    ("vit_tiny", IMAGENET, 5_717_416),
    ("vit_tiny", {}, 5_362_762),
    ("text_encoder", {}, 1_327_618),
]


@pytest.mark.parametrize(("name", "sizes", "published"), PUBLISHED, ids=[f"{n}-{p}" for n, _, p in PUBLISHED])
def test_parameter_counts_are_the_published_ones(name, sizes, published):
    assert count(on_meta(name, **sizes)) == published


@pytest.mark.parametrize(("name", "published"), [("gpt_mini", 795_904), ("gpt_char", 10_646_784)])
def test_gpts_are_counted_without_positions_and_with_a_tied_head(name, published):
    """nanoGPT prints 0.80M and 10.65M for these."""
    net = on_meta(name)
    assert count(net) - net.positions.weight.numel() == published
    assert net.head.weight is net.tokens.weight


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "resnet32", "resnet34", "resnet50", "resnet56"])
def test_residual_networks_are_as_deep_as_the_name_says(name):
    """Convolutions and linear layers, without the projections of shortcuts."""
    layers = [key for key, m in on_meta(name).named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len([key for key in layers if "shortcut" not in key]) == int(name.removeprefix("resnet"))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64)], ids=str)
def test_every_network_for_images_takes_every_shape(name, shape):
    net = on_meta(name, num_classes=7, input_shape=shape)
    with torch.no_grad():
        assert net(torch.zeros(2, *shape, device="meta")).shape == (2, 7)


@pytest.mark.parametrize(
    "name", ["lenet5", "mlp_6_100", "resnet20", "resnet18", "resnet50", "vgg11", "wrn_10_1", "vit_tiny"]
)
def test_every_parameter_takes_part(name):
    net = on_meta(name, num_classes=7, input_shape=(3, 64, 64))
    net(torch.zeros(2, 3, 64, 64, device="meta")).sum().backward()
    assert not [key for key, p in net.named_parameters() if p.grad is None]


@pytest.mark.parametrize(
    ("name", "sizes"), [("gpt_mini", CHARACTERS), ("gpt_char", CHARACTERS), ("text_encoder", WORDS)]
)
@pytest.mark.parametrize("length", [1, 5, 9])
def test_every_network_for_texts_takes_tokens_up_to_its_context(name, sizes, length):
    net = on_meta(name, **sizes)
    logits = net(torch.zeros(2, length, dtype=torch.int64, device="meta"))
    assert logits.shape == ((2, length, 11) if name != "text_encoder" else (2, 2))
    logits.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("name", ["resnet20", "wrn_10_1", "lenet5"])
def test_networks_begin_with_finite_logits_of_a_moderate_size(name):
    torch.manual_seed(0)
    with torch.no_grad():
        logits = create(name)(torch.randn(4, *((1, 28, 28) if name == "lenet5" else (3, 32, 32))))
    assert logits.isfinite().all()
    assert 1e-4 < float(logits.std()) < 10


def test_the_stem_goes_by_the_size_of_the_image():
    small, large = on_meta("resnet18", input_shape=(3, 63, 99)), on_meta("resnet18", input_shape=(3, 64, 64))
    assert (small.conv1.kernel_size, large.conv1.kernel_size) == ((3, 3), (7, 7))
    assert on_meta("resnet20", input_shape=(3, 64, 64)).conv1.kernel_size == (3, 3), "He et al.'s own is for 32 pixels"
    patches = [on_meta("vit_tiny", input_shape=(3, side, side)).patches.kernel_size for side in (32, 64)]
    assert patches == [(4, 4), (16, 16)]


# -- texts --------------------------------------------------------------------------------------------------


def small_gpt() -> nn.Module:
    torch.manual_seed(0)
    return GPT(width=16, depth=2, heads=2, vocabulary=11, context=9, dropout=0.5).eval()


def small_encoder() -> nn.Module:
    torch.manual_seed(0)
    return TextEncoder(16, 2, 2, num_classes=2, vocabulary=11, context=9, dropout=0.5).eval()


@pytest.mark.parametrize("changed", [1, 4, 8])
def test_a_gpt_never_looks_ahead(changed):
    net = small_gpt()
    tokens = torch.randint(0, 11, (3, 9), generator=torch.Generator().manual_seed(1))
    other = tokens.clone()
    other[:, changed] = (other[:, changed] + 1) % 11
    with torch.no_grad():
        before, after = net(tokens), net(other)
    assert before[:, :changed].equal(after[:, :changed]), "to the bit"
    for place in range(changed, 9):
        assert not before[:, place].equal(after[:, place]), "all that comes later sees it"


def test_a_gpt_says_the_same_of_a_beginning():
    net = small_gpt()
    tokens = torch.randint(0, 11, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(net(tokens)[:, :5], net(tokens[:, :5]), atol=1e-6, rtol=1e-5)


def test_the_encoder_does_not_see_padding():
    net = small_encoder()
    words = torch.tensor([[4, 5, 6], [7, 8, 0]])
    with torch.no_grad():
        short = net(words)
        for extra in (1, 6):
            torch.testing.assert_close(net(nn.functional.pad(words, (0, extra))), short, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(net(words[1:, :2]), short[1:], atol=1e-6, rtol=1e-5)
        assert not net(words[:, [1, 0, 2]]).allclose(short, atol=1e-6), "the order of words counts"
        net.tokens.weight[0] = 1e3  # whatever the padding's own vector is
        torch.testing.assert_close(net(nn.functional.pad(words, (0, 3)))[0], short[0], atol=1e-6, rtol=1e-5)


def test_an_empty_sentence_has_finite_logits_and_gradients():
    net = small_encoder()
    logits = net(torch.tensor([[0, 0, 0], [3, 0, 0]]))
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("causal", [False, True])
def test_attention_by_its_formula(causal):
    torch.manual_seed(0)
    layer = Attention(6, 2, causal=causal)
    x = torch.randn(2, 4, 6)
    q, k, v = layer.qkv(x).split(6, dim=-1)
    heads = []
    for h in range(2):
        a, b, c = (t[..., 3 * h : 3 * h + 3] for t in (q, k, v))
        scores = a @ b.mT / 3**0.5
        if causal:
            scores = scores.masked_fill(torch.ones(4, 4).triu(1).bool(), -torch.inf)
        heads.append(scores.softmax(-1) @ c)
    torch.testing.assert_close(layer(x), layer.proj(torch.cat(heads, -1)), atol=1e-6, rtol=1e-5)


def test_gpts_begin_as_gpt_2_does():
    torch.manual_seed(0)
    net = create("gpt_mini", **CHARACTERS)
    for name, weight in net.named_parameters():
        if weight.ndim == 2 and weight.shape[0] > 11:
            wanted = 0.02 / 8**0.5 if name.endswith(("proj.weight", "down.weight")) else 0.02
            assert float(weight.detach().std()) == pytest.approx(wanted, rel=0.05), name


# -- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "patch"), [((1, 30, 30), 4), ((3, 32, 30), 4), ((3, 100, 100), 16)])
def test_vit_refuses_images_that_do_not_divide(shape, patch):
    sentence = f"^images of {shape[1]}x{shape[2]} do not divide into patches of {patch}: use --image-size$"
    with pytest.raises(LehrError, match=sentence):
        create("vit_tiny", num_classes=10, input_shape=shape)


@pytest.mark.parametrize(
    ("name", "sizes", "sentence"),
    [
        ("resnet20", WORDS, "resnet20 reads images and the data holds text: choose another model or other data"),
        ("wrn_10_1", CHARACTERS, "wrn_10_1 reads images and the data holds text"),
        ("gpt_mini", {"num_classes": 10, "input_shape": (1, 8, 8)}, "gpt_mini reads tokens and the data holds images"),
        ("text_encoder", {"num_classes": 10, "input_shape": (1, 8, 8)}, "text_encoder reads tokens and the data holds"),
        ("gpt_mini", WORDS, "gpt_mini predicts the next token and the data has classes: choose text_encoder"),
        ("text_encoder", CHARACTERS, "text_encoder classifies and the data is for language modelling: choose gpt_mini"),
    ],
)
def test_networks_and_data_of_different_kinds_are_refused_in_one_sentence(name, sizes, sentence):
    with pytest.raises(LehrError) as told:
        create(name, **sizes)
    assert str(told.value).startswith(sentence)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("name", "depth"), [("wrn_27_2", 27), ("wrn_4_1", 4), ("wrn_28_0", 28), ("wrn_0_1", 0)])
def test_wide_networks_have_a_depth_of_6_n_plus_4(name, depth):
    with pytest.raises(LehrError, match=f"^{name} has depth {depth}: wide residual networks have 6 n \\+ 4 layers"):
        create(name)


@pytest.mark.parametrize("name", ["wrn_28", "wrn_28_10_2", "wrn-28-10", "wrn_x_2", "resnet200", "vit", ""])
def test_unknown_networks_are_told_with_the_families(name):
    with pytest.raises(LehrError, match=f"^there is no model '{name}': .*") as told:
        create(name)
    assert "wrn_D_K" in str(told.value), "the family is in the list"


# -- networks of the user's ---------------------------------------------------------------------------------

USERS = """
import functools, torch
seen = {}
class Net(torch.nn.Module):
    def __init__(self, num_classes, width=3):
        super().__init__()
        seen["class"] = (num_classes, width)
def none(): return _note("none", locals())
def classes(num_classes): return _note("classes", locals())
def own(width=8, num_classes=2): return _note("own", locals())
def shape(*, input_shape): return _note("shape", locals())
def text(vocabulary, context, num_classes): return _note("text", locals())
def everything(**sizes): return _note("everything", sizes)
def _note(name, values):
    layer = torch.nn.Linear(1, 1)
    layer.given = dict(values)
    return layer
bound = functools.partial(own, 5)
"""


@pytest.fixture
def file(tmp_path) -> str:
    (tmp_path / "mine.py").write_text(USERS)
    return str(tmp_path / "mine.py")


@pytest.mark.parametrize(
    ("factory", "sizes", "given"),
    [
        ("none", WORDS, {}),
        ("classes", WORDS, {"num_classes": 2}),
        ("own", CHARACTERS, {"num_classes": 11, "width": 8}),
        ("shape", WORDS, {"input_shape": (9,)}),
        ("text", CHARACTERS, {"vocabulary": 11, "context": 9, "num_classes": 11}),
        ("everything", WORDS, WORDS),
        ("everything", {**IMAGENET, "vocabulary": None}, IMAGENET),
        ("bound", {"num_classes": 4}, {"width": 5, "num_classes": 4}),
    ],
)
def test_a_users_factory_gets_exactly_what_it_names(file, factory, sizes, given):
    assert create(f"{file}:{factory}", **sizes).given == given


def test_a_class_is_a_factory_too(file):
    assert type(create(f"{file}:Net", num_classes=5)).__name__ == "Net"


def test_a_factory_that_needs_more_is_told(file):
    with pytest.raises(
        LehrError, match=r"mine.py:text cannot be built \(TypeError: .*vocabulary.*\): mend the factory"
    ):
        create(f"{file}:text", **IMAGENET)


def test_a_users_own_factory(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "def small(num_classes): return torch.nn.Linear(4, num_classes)\n"
        "def wrong(): return 3\n"
        "value = 5\n"
    )
    assert create(f"{file}:small", num_classes=6).out_features == 6
    with pytest.raises(LehrError, match="gave a int"):
        create(f"{file}:wrong")
    with pytest.raises(LehrError, match="has no callable 'smal': it has small, wrong"):
        create(f"{file}:smal")
    with pytest.raises(LehrError, match="has no callable 'value'"):
        create(f"{file}:value")
    with pytest.raises(LehrError, match="write path/to/file.py:factory"):
        create(str(file))
    with pytest.raises(LehrError, match="there is no file"):
        create("nowhere.py:small")
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(LehrError, match=r"cannot be imported \(ZeroDivisionError"):
        create(f"{tmp_path}/broken.py:x")
    with pytest.raises(LehrError, match="no model 'resnet200': did you mean"):
        create("resnet200")


def test_a_users_file_may_have_dataclasses_and_neighbours(tmp_path):
    (tmp_path / "blocks_of_mine.py").write_text("WIDTH = 5\n")
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "import torch\n"
        "from blocks_of_mine import WIDTH\n"
        "@dataclass\n"
        "class Size:\n"
        "    width: int = WIDTH\n"
        "def net(): return torch.nn.Linear(Size().width, 2)\n"
    )
    assert create(f"{tmp_path}/mine.py:net").in_features == 5


class _Library:
    """Stands for torchvision.models or timm, neither of which can be imported beside the CPU build of torch."""

    @staticmethod
    def list_models(module=None):
        return ["resnet50", "inception_v3"]

    @staticmethod
    def get_model(name, weights, num_classes, **more):
        assert weights is None
        assert more == ({"aux_logits": False, "init_weights": True} if name == "inception_v3" else {})
        return torch.nn.Conv2d(3, num_classes, 1)

    @staticmethod
    def create_model(name, pretrained, num_classes, in_chans):
        assert not pretrained
        return torch.nn.Conv2d(in_chans, num_classes, 1)


def test_networks_of_torchvision_and_timm_have_fresh_weights_and_the_sizes_of_the_data(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", _Library)
    monkeypatch.setitem(sys.modules, "torchvision.models", _Library)
    monkeypatch.setitem(sys.modules, "timm", _Library)
    sizes = {"num_classes": 7, "input_shape": (1, 8, 8)}
    assert create("timm:resnet50", **sizes).weight.shape == (7, 1, 1, 1)
    assert create("torchvision:resnet50", **sizes).out_channels == 7
    assert create("torchvision:inception_v3", **sizes).out_channels == 7
    with pytest.raises(LehrError, match="there is no network 'resnet5' in timm: did you mean 'resnet50'"):
        create("timm:resnet5", **sizes)
    with pytest.raises(LehrError, match="no library of models 'tim': did you mean 'timm'"):
        create("tim:resnet50", **sizes)


def test_a_library_that_is_missing_or_broken_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        LehrError, match=r"timm cannot be imported \(ModuleNotFoundError: .*: install one that goes with this"
    ):
        create("timm:resnet50", num_classes=2, input_shape=(1, 8, 8))
