"""Loops that are not the plain one: at a learning rate of 0 nothing may move, whatever they do."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import lehr
from tests.sparsify.contract import Net, batch

pytestmark = pytest.mark.filterwarnings("ignore:annealing stopped")


def build(realise: str = "sample", steps: int = 50, lr: float = 0.0, **options):
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    mask = lehr.select(net, 0.9, scope="layer")
    return net, optimizer, lehr.TemperatureAnnealing(mask, steps=steps, realise=realise, **options)


def values(net: nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in net.named_parameters()}


def moved(net: nn.Module, before: dict[str, torch.Tensor]) -> float:
    return max(float((p.detach() - before[n]).abs().max()) for n, p in net.named_parameters())


def loss_of(net: nn.Module, step: int) -> torch.Tensor:
    x, y = batch(step)
    return nn.functional.cross_entropy(net(x), y)


@pytest.mark.parametrize("realise", ["sample", "mean"])
@pytest.mark.parametrize("inactive", ["hold", "move"])
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("closure", [False, True])
@pytest.mark.parametrize("peek", [False, True], ids=["", "eval with gradients in between"])
def test_at_rate_zero_nothing_moves(realise, inactive, passes, closure, peek):
    net, optimizer, method = build(realise)
    before = values(net)

    def work() -> torch.Tensor:
        optimizer.zero_grad()
        for turn in range(passes):
            loss = loss_of(net, turn)
            loss.backward()
        if peek:
            net.eval()
            net(batch(9)[0])
            net.train()
        return loss

    with lehr.attach(net, optimizer, method, inactive=inactive) as run:
        for _ in range(4):
            if closure:
                optimizer.step(work)
            else:
                work()
                optimizer.step()
        assert run.step == 4
        assert moved(net, before) < 1e-6


def test_a_closure_gives_the_bits_of_a_plain_loop():
    results = []
    for closure in (False, True):
        net, optimizer, method = build(lr=0.05, steps=3)
        torch.manual_seed(1)
        with lehr.attach(net, optimizer, method):
            for step in range(6):

                def work(step=step, optimizer=optimizer, net=net):
                    optimizer.zero_grad()
                    loss = loss_of(net, step)
                    loss.backward()
                    return loss

                if closure:
                    assert optimizer.step(work) is not None
                else:
                    work()
                    optimizer.step()
        results.append(values(net))
    assert all(torch.equal(results[0][n], results[1][n]) for n in results[0])


def test_functional_call_is_left_alone_or_refused():
    net, optimizer, method = build()
    before = values(net)
    other = {n: p.detach() + 5 for n, p in net.named_parameters()}
    kept = {n: t.clone() for n, t in other.items()}
    with lehr.attach(net, optimizer, method):
        with torch.no_grad():
            out = torch.func.functional_call(net, other, (batch(0)[0],))
        assert out.shape == (16, 2)
        with pytest.raises(lehr.LehrError, match="functional_call is at work"):
            torch.func.functional_call(net, other, (batch(0)[0],))
        loss_of(net, 0).backward()
        optimizer.step()
    assert moved(net, before) == 0
    assert all(torch.equal(other[n], kept[n]) for n in other)


def test_a_replaced_module_is_told():
    net, optimizer, method = build()
    with lehr.attach(net, optimizer, method):
        net.head = nn.Linear(96, 2)
        with pytest.raises(lehr.LehrError, match="head.weight is not the parameter that the optimizer moves"):
            loss_of(net, 0)


def test_every_masked_weight_needs_its_optimizer():
    net, _, method = build()
    half = torch.optim.Adam(net.conv.parameters())
    with pytest.raises(lehr.LehrError, match="does not hold head.weight"):
        lehr.attach(net, half, method)
    net.requires_grad_(False)
    with pytest.raises(lehr.LehrError, match="every masked weight is frozen"):
        lehr.attach(net, half, method)


def test_two_names_of_one_parameter_are_refused():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    one = torch.ones(4, 4, dtype=torch.bool)
    with pytest.raises(lehr.LehrError, match="0.weight and 1.weight are one shared parameter"):
        lehr.Mask({"0.weight": one, "1.weight": one}).check(net)


def test_judged_cannot_give_a_wrong_gradient():
    net, optimizer, method = build()
    net.eval()
    with lehr.attach(net, optimizer, method) as run:
        with run.judged():
            loss = net(batch(0)[0].requires_grad_()).sum()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
        net.train()
        with pytest.raises(lehr.LehrError, match="a training pass began inside"), run.judged():
            net(batch(0)[0])


def test_reentrant_checkpointing_of_the_whole_network_is_refused():
    net, optimizer, method = build()
    with lehr.attach(net, optimizer, method):
        out = checkpoint(net, batch(0)[0].requires_grad_(), use_reentrant=True)
        with pytest.raises(lehr.LehrError, match="use_reentrant=False"):
            out.sum().backward()


@pytest.mark.parametrize("where", ["draw", "swap"])
def test_an_interruption_in_the_middle_of_a_draw_loses_nothing(monkeypatch, where):
    from lehr.sparsify.slot import Slot

    net, optimizer, method = build()
    before = values(net)
    original = getattr(Slot, where)

    def interrupted(self, *args, **kwargs):
        if self.name == "head.weight":
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with pytest.raises(KeyboardInterrupt), lehr.attach(net, optimizer, method), monkeypatch.context() as patch:
        patch.setattr(Slot, where, interrupted)
        if where == "draw":
            loss_of(net, 0)
        else:
            with torch.no_grad():
                net(batch(0)[0])
    # The second swap is interrupted too, so the first parameter is what counts.
    assert torch.equal(net.conv.weight, before["conv.weight"])
    assert torch.equal(net.head.weight, before["head.weight"])


def test_training_in_eval_is_warned_of_once():
    net, optimizer, method = build(lr=0.1)
    net.eval()
    with lehr.attach(net, optimizer, method):
        with pytest.warns(UserWarning, match=r"trains in eval\(\)"):
            loss_of(net, 0).backward()
            optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loss_of(net, 1).backward()
            optimizer.step()


def test_a_skipped_step_with_zeroed_gradients_forgets_who_took_part():
    net, optimizer, method = build(lr=0.1)
    before = values(net)
    with lehr.attach(net, optimizer, method) as run:
        loss_of(net, 0).backward()
        optimizer.zero_grad(set_to_none=False)  # the scaler skipped the step
        loss_of(net, 1).backward()
        took_part = {slot.name: slot.takes_part.bool().clone() for slot in run.slots}
        optimizer.step()
        for name, who in took_part.items():
            assert torch.equal(net.get_parameter(name)[~who], before[name][~who])


def test_whatever_lies_outside_the_target_is_cut():
    net, optimizer, method = build()
    outside = ~method.target["head.weight"]
    with torch.no_grad():
        net.head.weight[outside] = torch.tensor([float("inf"), float("nan"), -1.0]).repeat(58)[: int(outside.sum())]
    with lehr.attach(net, optimizer, lehr.OneShot(method.target)):
        loss_of(net, 0).backward()
        optimizer.step()
    assert (net.head.weight[outside] == 0).all()
    assert not net.head.weight[outside].signbit().any()


def test_numpy_numbers_are_numbers():
    import numpy as np

    net = Net()
    mask = lehr.select(net, np.float32(0.5), scope="layer")
    assert lehr.Gradual(mask, steps=np.int64(4)).steps == 4
