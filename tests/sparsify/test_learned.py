"""A learned mask: gradients by hand, penalties, what it leaves behind, and its collapse from ZerO with the cures."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import lehr
from lehr import LehrError
from lehr.models import initialise
from lehr.sparsify.learned import LearnedMask, MaskLearning


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))


def sgd(model: nn.Module, lr: float = 0.1, decay: float = 0.0) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr, weight_decay=decay)


def loss_of(model: nn.Module, step: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 5, generator=generator)
    return (model(x) - x[:, :3]).square().mean()


@pytest.mark.parametrize("polarise", [0.0, 2.0])
def test_the_first_step_of_the_logits_by_hand(polarise):
    """Adam's first step is ``-lr g / (|g| + eps)`` of the gradient of loss and penalties, by autograd."""
    model = small()
    how = MaskLearning(sparsity=0.01, polarise=polarise, initial=0.8, lr=0.3)
    logits = {
        n: torch.full_like(model.get_parameter(n), math.log(4.0), requires_grad=True) for n in ("0.weight", "2.weight")
    }
    m = {n: s.sigmoid() for n, s in logits.items()}
    copy = {n: p.detach() * m.get(n, torch.ones(1)) for n, p in model.named_parameters()}

    class Call(nn.Module):
        def forward(self, x):
            return torch.func.functional_call(model, copy, (x,))

    flat = torch.cat([one.flatten() for one in m.values()])
    whole = loss_of(Call()) + how.sparsity * flat.mean() + how.polarise * (flat * (1 - flat)).mean()
    whole.backward()
    optimizer = sgd(model)
    with lehr.learn_mask(model, optimizer, how) as learned:
        loss_of(model).backward()
        optimizer.step()
        for name, s in logits.items():
            found = learned._masked[name].logits.detach() - math.log(4.0)
            g = s.grad * flat.numel()
            assert torch.allclose(found, -0.3 * g / (g.abs() + 1e-8), atol=1e-5), name


def test_weights_have_the_gradient_of_the_product():
    model = small()
    optimizer = sgd(model)
    with lehr.learn_mask(model, optimizer, MaskLearning(initial=0.5)):
        originals = {n: p.detach().clone() for n, p in model.named_parameters() if n.endswith("original")}
        loss_of(model).backward()
        gradient = model[0].parametrizations.weight.original.grad.clone()
    halved = small()
    with torch.no_grad():
        for layer in (halved[0], halved[2]):
            layer.weight.mul_(0.5)
    loss_of(halved).backward()
    assert torch.allclose(gradient, 0.5 * halved[0].weight.grad, atol=1e-6)
    assert torch.allclose(model[0].weight, 0.5 * originals["0.parametrizations.weight.original"])


def test_straight_through_runs_with_the_half_and_gives_everyone_a_gradient():
    model = small()
    how = MaskLearning(straight_through=True, initial=0.3)
    with lehr.learn_mask(model, sgd(model), how):
        assert not model[0].weight.any(), "m is below a half everywhere"
        loss_of(model).backward()
        original = model[2].parametrizations.weight
        assert original.original.grad is not None
        hidden = model[0].bias.detach().tanh()
        assert original.original.grad.abs().sum() > 0 or not hidden.any()


@pytest.mark.parametrize("error", [False, True])
def test_nothing_of_it_is_left(error):
    model = small()
    names, weights = list(model.state_dict()), model[0].weight.detach().clone()
    held = [id(p) for p in model.parameters()]
    optimizer = sgd(model)
    try:
        with lehr.learn_mask(model, optimizer) as learned:
            values = learned.values
            if error:
                raise ValueError
    except ValueError:
        pass
    assert list(model.state_dict()) == names
    assert [id(p) for p in model.parameters()] == held, "the optimizer goes on with the same parameters"
    assert not parametrize.is_parametrized(model)
    assert type(model[0]) is nn.Linear
    assert torch.allclose(model[0].weight, weights * (1.0 if error else 0.95))
    assert torch.equal(learned.values["0.weight"], values["0.weight"])
    assert not optimizer._optimizer_step_post_hooks


def test_the_network_before_and_after_folding_is_the_same():
    model = small()
    optimizer = sgd(model)
    x = torch.randn(4, 5)
    with lehr.learn_mask(model, optimizer, MaskLearning(sparsity=5.0)):
        for step in range(20):
            optimizer.zero_grad()
            loss_of(model, step).backward()
            optimizer.step()
        inside = model(x)
    assert torch.equal(model(x), inside)


def test_warm_up_ramp_and_floor():
    def after(steps: int, **options) -> LearnedMask:
        model = small()
        for p in model.parameters():
            p.data.zero_()  # the task has no say
        optimizer = sgd(model, lr=0.0)
        with lehr.learn_mask(model, optimizer, MaskLearning(lr=0.1, **options)) as learned:
            for step in range(steps):
                optimizer.zero_grad()
                loss_of(model, step).backward()
                optimizer.step()
        return learned

    assert after(10, warm_up=10).terms()["mask_mean"] == pytest.approx(0.95)
    assert after(30, warm_up=10).terms()["mask_mean"] < 0.9
    assert after(60).terms()["mask_mean"] < 0.1
    assert 0.3 < after(300, floor=0.4).terms()["mask_mean"] < 0.5
    assert after(60, sparsity=0.0, polarise=1.0, initial=0.6).terms()["mask_mean"] > 0.9, "toward the nearer end"
    assert after(60, sparsity=0.0, polarise=1.0, initial=0.4).terms()["mask_mean"] < 0.1


def test_over_the_ramp_both_pressures_grow_by_hand():
    """Weights of 0 leave a logit to the penalties alone, so that every one of them is this one."""
    model = small()
    for p in model.parameters():
        p.data.zero_()
    optimizer = sgd(model, lr=0.0)
    logit = torch.tensor(math.log(4.0), requires_grad=True)
    adam = torch.optim.Adam([logit], lr=0.1)
    with lehr.learn_mask(
        model, optimizer, MaskLearning(sparsity=0.5, polarise=0.3, warm_up=2, ramp=4, initial=0.8, lr=0.1)
    ) as learned:
        for step, share in enumerate([0.0, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]):
            optimizer.zero_grad()
            loss_of(model, step).backward()
            optimizer.step()
            if step >= 2:
                m = logit.sigmoid()
                adam.zero_grad()
                (share * (0.5 * m + 0.3 * m * (1 - m))).backward()
                adam.step()
            for one in learned.values.values():
                assert torch.allclose(one, logit.detach().sigmoid(), atol=1e-5), step


def test_without_decay_weights_make_up_for_the_mask():
    """``w m`` alone matters to the task: penalties alone do not make it small."""

    def product(decay: float) -> tuple[float, float, float]:
        layer = nn.Linear(1, 1, bias=False)
        layer.weight.data.fill_(1.0)
        optimizer = sgd(layer, lr=0.05, decay=decay)
        with lehr.learn_mask(layer, optimizer, MaskLearning(sparsity=0.05, lr=0.02)) as learned:
            for _ in range(1500):
                optimizer.zero_grad()
                (layer(torch.ones(1, 1)) - 1).square().sum().backward()
                optimizer.step()
            original = float(layer.parametrizations.weight.original.detach())
        return float(layer.weight.detach()), original, float(learned.values["weight"])

    free, grown, m = product(0.0)
    assert free > 0.9
    assert grown > 2.0, "the weight grows as the mask shrinks"
    assert m < 0.5
    _, held, kept = product(0.1)
    assert held < grown
    assert kept > m


def test_resumed_it_gives_the_same_bits():
    def run(cut: int | None) -> dict[str, torch.Tensor]:
        model = small()
        optimizer = sgd(model)
        how = MaskLearning(warm_up=2, ramp=3)
        first = cut if cut is not None else 9
        with lehr.learn_mask(model, optimizer, how) as learned:
            for step in range(first):
                optimizer.zero_grad()
                loss_of(model, step).backward()
                optimizer.step()
            if cut is None:
                return {k: v.clone() for k, v in model.state_dict().items()}
            saved = (
                {k: v.clone() for k, v in model.state_dict().items()},
                {k: v.clone() for k, v in learned.state().items()},
            )
        model = small()
        optimizer = sgd(model)
        with lehr.learn_mask(model, optimizer, how) as learned:
            model.load_state_dict(saved[0])
            learned.load(saved[1])
            for step in range(first, 9):
                optimizer.zero_grad()
                loss_of(model, step).backward()
                optimizer.step()
            return {k: v.clone() for k, v in model.state_dict().items()}

    whole = run(None)
    for cut in (1, 2, 5):
        found = run(cut)
        assert all(torch.equal(found[name], whole[name]) for name in whole), cut


class TestZerO:
    """From ZerO a mask collapses while the weights' rate warms up: exact zeros give it no gradient of the task."""

    @staticmethod
    def outcome(init: str, **options) -> tuple[float, float]:
        """Accuracy, and how many of the weights that began as exact zeros are kept."""
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        teacher = torch.randn(24, 4, generator=generator)
        model = nn.Sequential(nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 4))
        initialise(model, init)
        began = {name: p.detach() == 0 for name, p in model.named_parameters()}
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
        with lehr.learn_mask(model, optimizer, MaskLearning(sparsity=0.1, lr=1.0, **options)) as learned:
            for step in range(400):
                optimizer.param_groups[0]["lr"] = 0.05 * min(1.0, step / 200)
                x = torch.randn(64, 24, generator=generator)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), (x @ teacher).argmax(1)).backward()
                optimizer.step()
        x = torch.randn(2000, 24, generator=generator)
        accuracy = float((model(x).argmax(1) == (x @ teacher).argmax(1)).float().mean())
        kept = sum(int(((m > 0.5) & began[name]).sum()) for name, m in learned.values.items())
        return accuracy, kept / max(1, sum(int(began[name].sum()) for name in learned.values))

    def test_zeros_give_the_mask_no_gradient_of_the_task(self):
        layer = initialise(nn.Linear(6, 4), "zero")
        with lehr.learn_mask(layer, sgd(layer)) as learned:
            layer(torch.randn(5, 6)).square().sum().backward()
            gradient = learned._masked["weight"].logits.grad
        zero = layer.weight == 0
        assert not gradient[zero].any()
        assert gradient[~zero].all()

    def test_it_collapses_where_the_default_does_not(self):
        accuracy, kept = self.outcome("zero")
        assert kept < 0.01, "nothing is left but what ZerO began with"
        assert accuracy < self.outcome("default")[0] - 0.1

    @pytest.mark.parametrize("cure", [{"warm_up": 100, "ramp": 200}, {"warm_up": 100}, {"floor": 0.3}])
    def test_and_is_cured(self, cure):
        accuracy, kept = self.outcome("zero", **cure)
        assert kept > 0.05
        assert accuracy > self.outcome("default", **cure)[0] - 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": -1.0}, "sparsity of a learned mask is -1.0"), ({"polarise": math.inf}, "polarise of a learned mask is inf"),
        ({"warm_up": -1}, "warm_up of a learned mask is -1"), ({"ramp": 0.5}, "ramp of a learned mask is 0.5"),
        ({"floor": 1.0}, "floor is 1.0"), ({"initial": 1.0}, "initial is 1.0"), ({"lr": math.nan}, "lr of a learned mask is nan"),
    ],
)  # fmt: skip
def test_bad_numbers_are_one_sentence(options, message):
    with pytest.raises(LehrError, match=message):
        MaskLearning(**options)


def test_networks_that_it_cannot_do_are_one_sentence():
    model = small()
    with pytest.raises(LehrError, match=r"the optimizer does not hold 2.weight"):
        lehr.learn_mask(model, torch.optim.SGD([*model[0].parameters()], lr=0.1))
    tied = small()
    tied[2] = nn.Linear(6, 5)
    tied[2].weight = nn.Parameter(torch.randn(5, 6))
    other = nn.Sequential(tied[2], nn.Linear(6, 5))
    other[1].weight = tied[2].weight
    with pytest.raises(LehrError, match=r"0.weight is shared by 2 modules"):
        lehr.learn_mask(other, sgd(other))
    optimizer = sgd(model)
    with (
        lehr.learn_mask(model, optimizer),
        pytest.raises(LehrError, match="a mask is learned for this network already"),
    ):
        lehr.learn_mask(model, optimizer)
