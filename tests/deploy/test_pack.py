"""`save` and `load`: built-in networks bit for bit, near the bound, and mistakes as one sentence."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import lehr
from lehr import LehrError, Mask, select
from lehr.deploy.saved import Saved
from lehr.models import create
from lehr.runtime.file import Contents, pack, read

IMAGES = {"num_classes": 10, "input_shape": (3, 32, 32)}
DIGITS = {"num_classes": 10, "input_shape": (1, 28, 28)}
TEXTS = {"vocabulary": 65, "context": 64}
NETWORKS = {
    "lenet_300_100": DIGITS, "lenet5": DIGITS, "resnet20": IMAGES, "wrn_10_1": IMAGES, "vit_tiny": IMAGES,
    "gpt_mini": TEXTS, "text_encoder": {"num_classes": 2, "vocabulary": 100, "context": 16},
}  # fmt: skip
WIDTHS = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}


def sparse(name: str, sparsity: float | None = 0.9, granularity: str = "unstructured", **options) -> tuple:
    torch.manual_seed(0)
    model = create(name, **NETWORKS.get(name, IMAGES))
    return model, select(model, sparsity, granularity=granularity, **options).apply_(model)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        tensor.dtype == second[name].dtype and torch.equal(tensor, second[name]) for name, tensor in first.items()
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_built_in_network_comes_back_by_its_name(name, tmp_path):
    model, mask = sparse(name, scope="layer")
    lehr.save(model, tmp_path / "f.lehr", mask=mask, architecture=(name, NETWORKS[name]))
    back, found = lehr.load(tmp_path / "f.lehr")
    assert type(back) is type(model)
    assert same_weights(back, model)
    assert found == mask


@pytest.mark.parametrize("granularity", ["2:4", "1:4", "block:2x1", "block:2x8", "filter", "head"])
def test_every_granularity_comes_back(granularity, tmp_path):
    sparsity = None if granularity[0].isdigit() else 0.5
    left_out = {"exclude_modules": ["patches"]} if granularity[0].isdigit() else {}
    scope = "global" if granularity[0].isdigit() else "layer"
    model, mask = sparse("vit_tiny", sparsity, granularity, scope=scope, **left_out)
    saved = lehr.save(model, tmp_path / "f.lehr", mask=mask, architecture=("vit_tiny", IMAGES))
    back, found = lehr.load(tmp_path / "f.lehr")
    assert same_weights(back, model)
    assert found == mask
    assert found.granularities == mask.granularities
    assert saved.size <= 1.02 * saved.bound + 4096


@pytest.mark.parametrize("values", WIDTHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_kind_of_values(values, dtype, tmp_path):
    model, mask = sparse("lenet5", scope="layer")
    model = model.to(dtype)
    lehr.save(model, tmp_path / "f.lehr", mask=mask, values=values)
    tensors = lehr.load_state_dict(tmp_path / "f.lehr")
    assert lehr.load_mask(tmp_path / "f.lehr") == mask
    for name, weight in model.state_dict().items():
        found, exact = tensors[name].double(), weight.double()
        assert tensors[name].dtype == dtype
        if name not in mask or values == "fp32":
            assert torch.equal(found, exact)
            continue
        assert (found[~mask[name]] == 0).all()
        rows = exact.flatten(1).abs().amax(1)
        step = {"fp16": 2.0**-11, "bf16": 2.0**-8, "int8": 0.505 / 127}[values] + torch.finfo(dtype).eps / 2
        error = (found - exact).abs().flatten(1)
        assert (error <= step * rows[:, None] + 2.0**-24).all()


def test_what_it_says_about_itself_comes_back(tmp_path):
    model, mask = sparse("lenet5")
    told = {"classes": ("zero", "ÿ"), "preprocessing": {"mean": (0.5,)}, "provenance": {"run": "runs/x"}}
    lehr.save(model, tmp_path / "f.lehr", mask=mask, architecture=("lenet5", DIGITS), **told)
    about = read(tmp_path / "f.lehr").about
    assert about["classes"] == ["zero", "ÿ"]
    assert about["preprocessing"] == {"mean": [0.5]}
    assert about["provenance"] == {"lehr": lehr.__version__, "run": "runs/x"}
    assert about["architecture"] == {"name": "lenet5", "sizes": {"num_classes": 10, "input_shape": [1, 28, 28]}}


def test_a_network_of_ones_own_is_filled(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    mask = select(model, 0.5).apply_(model)
    lehr.save(model, tmp_path / "f.lehr", mask=mask)
    fresh = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    back, found = lehr.load(tmp_path / "f.lehr", fresh)
    assert back is fresh
    assert same_weights(fresh, model)
    assert found == mask


def test_the_same_network_is_the_same_bytes(tmp_path):
    model, mask = sparse("lenet5")
    for name in ("a", "b"):
        lehr.save(model, tmp_path / name, mask=mask)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# -- how small ----------------------------------------------------------------------------------------------


def bound(model: nn.Module, mask: Mask, values: str) -> float:
    """The bytes that no code could be below, layer by layer, once more."""
    total = 0.0
    state = dict(model.state_dict())
    for row in mask.layers():
        free = math.lgamma(row.size + 1) - math.lgamma(row.kept + 1) - math.lgamma(row.size - row.kept + 1)
        total += free / math.log(2) / 8 + WIDTHS[values] * row.kept
        if values == "int8":
            total += 2 * int(mask[row.name].flatten(1).any(1).sum())
        del state[row.name]
    return total + sum(tensor.numel() * tensor.element_size() for tensor in state.values())


@pytest.mark.parametrize("name", ["lenet_300_100", "resnet18", "vit_tiny"])
def test_a_file_is_near_the_bound(name, tmp_path):
    torch.manual_seed(0)
    sizes = NETWORKS.get(name, IMAGES)
    model = create(name, **sizes)
    for sparsity in (0.9, 0.95, 0.98, 0.99):
        mask = select(model, sparsity, scope="layer").apply_(model)
        for values in ("fp32", "int8"):
            saved = lehr.save(model, tmp_path / "f", mask=mask, values=values, architecture=(name, sizes))
            assert saved.bound == pytest.approx(bound(model, mask, values), rel=1e-9)
            assert saved.size <= 1.02 * saved.bound + 4096
            assert saved.size == (tmp_path / "f").stat().st_size


def test_what_saving_says_by_hand(tmp_path):
    net = nn.Linear(4, 2)
    mask = Mask({"weight": torch.tensor([[True, False, False, False], [True, True, False, False]])}).apply_(net)
    saved = lehr.save(net, tmp_path / "f.lehr", mask=mask)
    assert saved == Saved(tmp_path / "f.lehr", saved.size, saved.bound, dense=40, weights=10)
    assert saved.bound == pytest.approx(math.log2(56) / 8 + 4 * 3 + 4 * 2)
    assert saved.bits_per_weight == 8 * saved.size / 10


# -- mistakes -----------------------------------------------------------------------------------------------


def test_mistakes_on_saving_are_told_and_nothing_is_written(tmp_path):
    model, mask = sparse("lenet5")
    other = create("lenet_300_100", **DIGITS)
    path = tmp_path / "f.lehr"
    dense = create("lenet5", **DIGITS)
    for words, message in (
        ((dense, {"mask": mask}), "outside its mask are not 0: end the annealing, or call mask.apply_"),
        ((other, {"mask": mask}), "no parameter 'features.0.weight'"),
        ((model, {"values": "int4"}), "there is no kind of values 'int4': did you mean 'int8'"),
        ((model, {"architecture": ("mine.py:net", {})}), "is a file of yours, and no file may run code"),
        ((model, {"architecture": ("lenet5", {"size": float("nan")})}), "architecture holds .nan"),
        ((model, {"provenance": {"when": object()}}), "provenance holds"),
        ((model, {"classes": [b"a"]}), "classes holds"),
    ):
        with pytest.raises(LehrError, match=message):
            lehr.save(words[0], path, **words[1])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "values", "message"),
    [
        (float("nan"), "int8", "a weight is not finite and has no int8: choose other values"),
        (float("inf"), "int8", "a weight is not finite and has no int8: choose other values"),
        (1e6, "fp16", "a weight is too large for F16: choose other values, such as bf16 or fp32"),
        (3.4e38, "bf16", "a weight is too large for BF16"),
    ],
)
def test_numbers_without_a_code_are_told(number, values, message, tmp_path):
    model, mask = sparse("lenet5")
    with torch.no_grad():
        model.get_parameter("features.0.weight").view(-1)[mask["features.0.weight"].view(-1).nonzero()[0]] = number
    with pytest.raises(LehrError, match=message):
        lehr.save(model, tmp_path / "f.lehr", mask=mask, values=values)


def named(path: Path, name: object, sizes: object) -> Path:
    """The file again, naming another architecture."""
    contents = read(path)
    about = {**contents.about, "architecture": {"name": name, "sizes": sizes}}
    path.write_bytes(pack(Contents(about, contents.tensors)).content)
    return path


@pytest.fixture
def file(tmp_path) -> Path:
    model, mask = sparse("lenet5")
    return lehr.save(model, tmp_path / "f.lehr", mask=mask, architecture=("lenet5", DIGITS)).path


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("lenet_300_100", DIGITS, "holds tensors that lenet_300_100 with its sizes does not have: give model="),
        ("lenet5", {**DIGITS, "num_classes": 9}, "holds tensors that lenet5 with its sizes does not have"),
        ("lenet5", {**DIGITS, "num_classes": 10**7}, "names lenet5 with sizes"),
        ("lenet5", {**DIGITS, "num_classes": 10**6}, "holds tensors that"),
        ("lenet5", {**DIGITS, "input_shape": (10**6, 10**6, 10**6)}, "f.lehr|lenet5"),
        ("lenet5", {**DIGITS, "num_classes": -10}, "lenet5 cannot be built"),
        ("lenet5", {**DIGITS, "num_classes": "ten"}, "lenet5 cannot be built"),
        ("wrn_1000006_1", DIGITS, "names wrn_1000006_1 with sizes"),
        ("/tmp/evil.py:net", DIGITS, "names a file of code, '/tmp/evil.py:net', which is not run: give model="),
        ("os.system", DIGITS, "there is no model 'os.system'"),
        (None, DIGITS, "there is no model 'None'"),
        ("lenet5", None, "does not say how its network is built: give model=, or read it with load_state_dict"),
    ],
)
def test_an_architecture_that_is_not_that_of_the_file_is_told(file, name, sizes, message):
    sizes = None if sizes is None else {k: list(v) if isinstance(v, tuple) else v for k, v in sizes.items()}
    with pytest.raises(LehrError, match=message):
        lehr.load(named(file, name, sizes))


def test_another_network_given_is_told(file):
    with pytest.raises(LehrError, match="f.lehr is of another network"):
        lehr.load(file, nn.Linear(2, 2))


def test_a_damaged_file_is_told_with_its_path(file):
    file.write_bytes(file.read_bytes()[:-1])
    for read_it in (lehr.load, lehr.load_state_dict, lehr.load_mask):
        with pytest.raises(LehrError, match="f.lehr: the file is damaged"):
            read_it(file)
    with pytest.raises(LehrError, match="cannot read .*: give a file that lehr pack wrote"):
        lehr.load(file.with_name("no.lehr"))


def told(path: Path) -> str:
    """What loading a file says; any other error than a `LehrError` is let through."""
    try:
        lehr.load(path)
    except LehrError as error:
        return str(error)
    pytest.fail("it was loaded")


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("lenet5", {"name": "lenet5"}),  # TypeError: multiple values for 'name'
        ("gpt_mini", {"vocabulary": 3, "input_shape": [4]}),  # KeyError: 'num_classes'
        ("wrn_" + "1" * 5000 + "_1", {}),  # ValueError: more digits than Python converts
    ],
)
def test_strange_names_and_sizes_are_told(file, name, sizes):
    assert "f.lehr" in told(named(file, name, sizes))


def test_a_very_deep_network_is_not_built(file, monkeypatch):
    class Built(Exception):
        pass

    def stop(*_):
        raise Built

    monkeypatch.setattr("lehr.models.wide_resnet.WideResNet.__init__", stop)  # wrn_10000_1 takes ten seconds
    assert "Built" not in told(named(file, "wrn_999994_1", {}))


def test_a_granularity_of_five_thousand_digits_is_told(tmp_path):
    from tests.runtime.forged import file_of
    from tests.runtime.forged import sparse as line

    granularity = "9" * 5000 + ":4"
    path = tmp_path / "f.lehr"
    path.write_bytes(file_of([line([4], 0, {"count": 0, "bits": 0, "quotients": 0}, granularity=granularity)]))
    assert "f.lehr" in mask_told(path)


def mask_told(path: Path) -> str:
    try:
        lehr.load_mask(path)
    except LehrError as error:
        return str(error)
    pytest.fail("it was loaded")


def test_very_many_classes_can_be_saved_and_loaded_or_are_told(tmp_path):
    try:
        lehr.save(nn.Linear(1, 1), tmp_path / "f.lehr", classes=[f"class {i}" for i in range(100_000)])
    except LehrError:
        return
    lehr.load_mask(tmp_path / "f.lehr")
