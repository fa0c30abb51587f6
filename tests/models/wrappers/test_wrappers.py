"""Networks that are ensembles by themselves: what each member sees, and what is shared."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lehr import LehrError
from lehr.models import create
from lehr.models.wrappers.batch_ensemble import BatchEnsemble, RankOne
from lehr.models.wrappers.dropout import MonteCarloDropout
from lehr.models.wrappers.mimo import Mimo
from lehr.models.wrappers.tree import Tree
from lehr.training.losses import distillation_loss, task_loss
from lehr.training.optimizers import make_optimizer

SIZES = {"num_classes": 5, "input_shape": (2, 16, 16)}
NAMES = [
    "mimo-3:resnet20",
    "batch-ensemble-3:resnet20",
    "tree-3:resnet20",
    "dropout-0.2:resnet20",
    "tree-2:lenet_300_100",
    "mimo-2:lenet5",
]


OTHERS = """
from torch import nn

class Staged(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
        self.layer2 = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        self.fc = nn.Linear(2, 2)

def staged():
    return Staged()

def attends():
    return nn.Sequential(nn.MultiheadAttention(4, 2), nn.Linear(4, 2))
"""


@pytest.mark.parametrize("name", NAMES)
def test_they_train_and_are_judged_by_the_mean_of_probabilities(name):
    torch.manual_seed(0)
    network = create(name, **SIZES)
    x, targets = torch.randn(6, 2, 16, 16), torch.arange(6) % 5
    loss = task_loss(network(x), targets)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    with torch.no_grad():
        judged = network.eval()(x)
        assert judged.shape == (6, 5)
        torch.testing.assert_close(judged.exp().sum(-1), torch.ones(6))
        assert torch.equal(judged, network(x)), "the same every time"
        members = network.members(x)
        assert members.shape == (10 if name.startswith("dropout") else int(name.split("-")[-1].split(":")[0]), 6, 5)
        torch.testing.assert_close(members.softmax(-1).mean(0), judged.exp())
        assert not torch.allclose(members[0], members[1]), "unlike each other"


def test_the_loss_of_members_is_the_sum_of_theirs():
    logits, targets = torch.randn(4, 3, 5), torch.tensor([0, 1, 2, 3])
    wanted = torch.stack([F.cross_entropy(logits[:, m], targets) for m in range(3)]).sum()
    torch.testing.assert_close(task_loss(logits, targets), wanted)


def test_the_heads_of_mimo_answer_for_their_own_input():
    class Sums(nn.Module):
        """Head m says the sum of channel m: what it was shown."""

        def forward(self, x):
            return x.sum((2, 3))

    mimo, x = Mimo(Sums(), 3), torch.arange(7.0).reshape(7, 1, 1, 1)
    torch.manual_seed(1)
    out = mimo(x)
    assert torch.equal(out, torch.arange(7.0).reshape(7, 1, 1).expand(7, 3, 1)), "put back in the order of the batch"


def test_rank_one_layers_are_the_layers_with_their_own_weights():
    torch.manual_seed(0)
    for layer, x in (
        (nn.Linear(4, 3), torch.randn(6, 4)),
        (nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"), torch.randn(6, 4, 5, 5)),
        (nn.Linear(4, 3), torch.randn(6, 2, 4)),
    ):
        plain = copy.deepcopy(layer)
        own = RankOne(layer, 3)
        with torch.no_grad():
            own.r.normal_()
            own.s.normal_()
            own.b.normal_()
        found = own(x)
        for m in range(3):
            outer = torch.outer(own.s[m], own.r[m]).reshape(3, 4, *[1] * (plain.weight.ndim - 2))
            one = copy.deepcopy(plain)
            one.weight.data, one.bias.data = plain.weight.data * outer.data, own.b[m].data
            torch.testing.assert_close(found[2 * m : 2 * m + 2], one(x[2 * m : 2 * m + 2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(4, 6, bias=False), torch.randn(6, 2, 4)),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), torch.randn(6, 4, 5, 5)),
        (nn.Conv2d(4, 6, 3, groups=2, padding_mode="circular", padding=1), torch.randn(6, 4, 5, 5)),
    ],
)
def test_a_member_that_is_asked_answers_for_every_row_as_it_does_for_its_own(layer, x):
    torch.manual_seed(0)
    own = RankOne(layer, 3)
    with torch.no_grad():
        for factors in own.vectors():
            factors.normal_()
        together = own(x.repeat(3, *[1] * (x.ndim - 1)))
        for own.asked in range(3):
            torch.testing.assert_close(own(x), together[6 * own.asked : 6 * own.asked + 6], rtol=1e-4, atol=1e-5)


def test_factors_begin_about_one():
    torch.manual_seed(0)
    own = RankOne(nn.Linear(3000, 2000), 2)
    for factors in (own.r, own.s):
        assert factors.mean().item() == pytest.approx(1, abs=0.03)
        assert factors.std().item() == pytest.approx(0.5, abs=0.03)


def test_batch_ensemble_has_few_weights_more_and_all_members_judge():
    network = create("resnet20", **SIZES)
    count = sum(p.numel() for p in network.parameters())
    ensemble = BatchEnsemble(network, 4).eval()
    assert sum(p.numel() for p in ensemble.parameters()) < 1.05 * count
    seen = []
    layer = next(module for module in ensemble.modules() if isinstance(module, RankOne))
    layer.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    ensemble(torch.randn(3, 2, 16, 16))
    ensemble.train()(torch.randn(8, 2, 16, 16))
    assert seen == [3, 3, 3, 3, 8], "each has all when they judge, and its part of the batch when they train"


def test_judged_by_batch_ensemble_every_input_is_answered_by_every_member():
    torch.manual_seed(0)
    plain = nn.Linear(4, 3)
    ensemble = BatchEnsemble(nn.Sequential(copy.deepcopy(plain)), 3).eval()
    own = ensemble.network[0]
    assert all(torch.equal(b, plain.bias) for b in own.b), "members begin with the bias of the layer"
    x = torch.randn(5, 4)
    with torch.no_grad():
        for factors in (own.r, own.s, own.b):
            factors.normal_()
        answers = [own.s[m] * ((own.r[m] * x) @ plain.weight.T) + own.b[m] for m in range(3)]
        torch.testing.assert_close(ensemble(x).exp(), torch.stack(answers).softmax(-1).mean(0))


def test_judged_by_mimo_every_head_is_shown_the_same_input():
    class Shows(nn.Module):
        """The logits of head m are those of the pixel in channel m."""

        def forward(self, x):
            shown = x.flatten(1)
            return torch.stack([shown, 0 * shown], 2).flatten(1)

    x = torch.tensor([1.0, -2.0, 3.0]).reshape(3, 1, 1, 1)
    shown = torch.stack([x.flatten(), torch.zeros(3)], 1)
    torch.testing.assert_close(Mimo(Shows(), 4).eval()(x), shown.log_softmax(-1))


def test_every_member_of_a_tree_goes_through_its_own_branch_and_head():
    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            self.stack = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh())
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            return self.head(self.stack(x))

    torch.manual_seed(0)
    tree, x = Tree(Stacked(), 3), torch.randn(7, 4)
    trunk, branches = tree.network.stack[:2], tree.network.stack[2].branches
    heads = tree.network.head.branches
    assert len({id(part) for part in (*branches, *heads)}) == 6
    wanted = torch.stack([head(branch(trunk(x))) for branch, head in zip(branches, heads, strict=True)], 1)
    torch.testing.assert_close(tree(x), wanted)
    torch.testing.assert_close(tree.eval()(x).exp(), wanted.softmax(-1).mean(1))


def test_a_tree_shares_its_trunk_and_no_more():
    plain = create("resnet20", **SIZES)
    tree = Tree(copy.deepcopy(plain), 3)
    sizes = {name: p.numel() for name, p in plain.named_parameters()}
    trunk = sum(
        n
        for name, n in sizes.items()
        if name.startswith(("conv1", "bn1")) or (name.startswith("blocks.") and int(name.split(".")[1]) < 4)
    )
    assert sum(p.numel() for p in tree.parameters()) == trunk + 3 * (sum(sizes.values()) - trunk)
    out = tree(torch.randn(4, 2, 16, 16))
    assert out.shape == (4, 3, 5)
    assert not torch.allclose(out[:, 0], out[:, 1]), "branches begin with other weights"


def test_dropout_passes_differ_and_are_repeated():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(512, 20), nn.ReLU(), nn.Linear(20, 5))
    few, many = (MonteCarloDropout(copy.deepcopy(plain), 0.5, passes).eval() for passes in (1, 400))
    x = torch.randn(3, 2, 16, 16)
    before = torch.get_rng_state()
    assert not torch.allclose(few(x), many(x), atol=1e-3)
    assert torch.equal(torch.get_rng_state(), before), "nobody else's random numbers are used"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mimi-3:resnet20", "no wrapper of models 'mimi': did you mean 'mimo'"),
        ("mimo-x:resnet20", "mimo-x:resnet20 is not understood: write mimo-3:resnet20"),
        ("tree-1:resnet20", "tree has 1 members: give a whole number from 2 to 64"),
        ("tree-2.5:resnet20", "tree has 2.5 members"),
        ("dropout-1.5:resnet20", "dropout drops 1.5 of the activations"),
        ("tree-2:vit_tiny", "ViT has no stack of layers"),
        ("mimo-2:resnet2", "no model 'resnet2'"),
        ("batch-ensemble-2:FILE:attends", "MultiheadAttention reads the weights of its layers itself"),
        ("tree-2:FILE:staged", "Staged has layer2 behind its longest stack, which no branch would have"),
    ],
)
def test_a_name_that_means_nothing_is_one_sentence(tmp_path, name, message):
    (tmp_path / "mine.py").write_text(OTHERS)
    name = name.replace("FILE", f"{tmp_path}/mine.py")
    with pytest.raises(LehrError, match=message):
        create(name, **SIZES)


def test_a_users_own_network_can_be_wrapped(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\ndef net(num_classes, input_shape):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(512, 8), torch.nn.Linear(8, num_classes))\n"
    )
    assert create(f"tree-2:{tmp_path}/mine.py:net", **SIZES).eval()(torch.zeros(1, 2, 16, 16)).shape == (1, 5)


def test_batch_ensemble_of_a_language_model_keeps_its_places():
    network = create("batch-ensemble-2:gpt_mini", num_classes=50, input_shape=(16,), vocabulary=50, context=16).eval()
    with torch.no_grad():
        assert network(torch.zeros(4, 16, dtype=torch.int64)).shape == (4, 16, 50)


def test_members_learn_from_a_teacher():
    logits, teacher = torch.randn(4, 3, 5), torch.randn(4, 5)
    found = distillation_loss(logits, teacher, torch.arange(4), 1.0, 2.0)
    wanted = torch.stack([distillation_loss(logits[:, m], teacher, torch.arange(4), 1.0, 2.0) for m in range(3)]).sum()
    torch.testing.assert_close(found, wanted)


def test_weight_decay_spares_what_is_a_vector_for_each_member():
    net = BatchEnsemble(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)), 4)
    decayed, spared = make_optimizer("sgd", net, 0.1, 0.9, 5e-4).param_groups
    assert {id(p) for p in decayed["params"]} == {
        id(p) for n, p in net.named_parameters() if n.endswith("layer.weight")
    }
    assert spared["weight_decay"] == 0
    assert len(spared["params"]) == 2 * 3 + 2, "r, s and b of two layers, and the norm's two"
