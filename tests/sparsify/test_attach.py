"""The engine: each contract and each known trap."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import lehr
from lehr.base.draws import Purpose, Stream


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 4 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(x)).relu().flatten(1))


def setup(tau: float = 0.5, steps: int = 4, seed: int = 0, **options):
    torch.manual_seed(seed)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    method = lehr.TemperatureAnnealing(lehr.select(net, 0.8), tau=tau, steps=steps, **options)
    return net, optimizer, method


X = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 2, 0, 1])


def loss_of(net: nn.Module, x: torch.Tensor = X) -> torch.Tensor:
    return nn.functional.cross_entropy(net(x), Y[: len(x)])


def train(net, optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(net).backward()
        optimizer.step()


def weights(net) -> dict[str, torch.Tensor]:
    return {"conv.weight": net.conv.weight.detach().clone(), "head.weight": net.head.weight.detach().clone()}


def expected_draw(method, net, name: str, step: int = 0, turn: int = 0) -> torch.Tensor:
    """The draw by the definition, apart from the engine: target, or bits below the threshold."""
    target = method.target[name]
    bits = Stream(method.seed, name, Purpose.MASK, step, turn).bits(0, target.numel())
    level = int(method.tau * 65536 + 0.5)
    return target | torch.from_numpy(bits < level).reshape(target.shape)


def test_a_training_pass_runs_on_the_draw_and_gradients_know_it():
    net, optimizer, method = setup()
    twin = copy.deepcopy(net)
    before = weights(net)
    with torch.no_grad():
        for name, keep in ((n, expected_draw(method, net, n)) for n in method.target):
            twin.get_parameter(name).mul_(keep)
    x, x_twin = X.clone().requires_grad_(), X.clone().requires_grad_()
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
        warnings.simplefilter("ignore")
        a, b = loss_of(net, x), loss_of(twin, x_twin)
        assert torch.equal(a, b)
        a.backward()
        b.backward()
        assert torch.equal(x.grad, x_twin.grad), "the input gradient is that of the drawn network"
        for name in method.target:
            keep = expected_draw(method, net, name)
            gradient = net.get_parameter(name).grad
            assert torch.equal(gradient, twin.get_parameter(name).grad * keep)
            assert (~keep).any()
            assert gradient[keep].abs().sum() > 0
        optimizer.step()
        for name in method.target:
            keep = expected_draw(method, net, name)
            after = net.get_parameter(name).detach()
            assert torch.equal(after[~keep], before[name][~keep]), "a weight that is out keeps its value"
            assert not torch.equal(after[keep], before[name][keep])


def test_each_pass_has_a_fresh_draw_and_forwards_of_one_pass_share_it():
    net, optimizer, method = setup(steps=10)
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
        warnings.simplefilter("ignore")
        seen = []
        for _ in range(3):
            net(X).sum().backward()  # three passes in one optimizer step: accumulation
            seen.append(net.head.weight.detach().clone() != 0)
        assert not torch.equal(seen[0], seen[1])
        assert not torch.equal(seen[1], seen[2])
        assert torch.equal(seen[1], expected_draw(method, net, "head.weight", 0, 1))
        optimizer.step()
        first = net(X)
        one = net.head.weight.detach().clone()
        second = net(X + 1)
        assert torch.equal(one, net.head.weight), "siamese forwards share the draw"
        (first.sum() + second.sum()).backward()


def test_accumulated_gradients_each_keep_their_own_mask():
    net, optimizer, method = setup(steps=10)
    dense = copy.deepcopy(net).eval()
    net.norm.eval()
    total = {name: torch.zeros_like(w) for name, w in weights(net).items()}
    for turn in range(2):
        twin = copy.deepcopy(dense)
        with torch.no_grad():
            for name in total:
                twin.get_parameter(name).mul_(expected_draw(method, net, name, 0, turn))
        loss_of(twin, X[turn * 2 : turn * 2 + 2]).backward()
        for name in total:
            total[name] += twin.get_parameter(name).grad * expected_draw(method, net, name, 0, turn)
    before = weights(net)
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
        warnings.simplefilter("ignore")
        for turn in range(2):
            x = X[turn * 2 : turn * 2 + 2]
            nn.functional.cross_entropy(net(x), Y[:2]).backward()
        for name in total:
            assert torch.allclose(net.get_parameter(name).grad, total[name], atol=1e-7)
        optimizer.step()
    for name in total:
        either = expected_draw(method, net, name, 0, 0) | expected_draw(method, net, name, 0, 1)
        after = net.get_parameter(name).detach()
        assert torch.equal(after[~either], before[name][~either])
        # Momentum is fresh: w - lr (g + wd w) on all that took part in either pass.
        moved = before[name] - 0.1 * (total[name] + 1e-2 * before[name])
        assert torch.allclose(after[either], moved[either], atol=1e-6)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_judged_network_is_the_target_and_leaves_no_trace(context, mode):
    net, optimizer, method = setup()
    before = weights(net)
    twin = copy.deepcopy(net)
    method.target.apply_(twin)
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method) as run:
        warnings.simplefilter("ignore")
        for network in (net, twin):
            network.train(mode == "train")
        with context():
            assert torch.equal(net(X), twin(X)), "evaluation and batch-norm re-estimation see the target"
        assert all(torch.equal(net.get_parameter(n), w) for n, w in before.items())
        with run.judged(), torch.no_grad():
            assert int((net.head.weight != 0).sum()) == method.target.layer_counts()["head.weight"]
        assert all(torch.equal(net.get_parameter(n), w) for n, w in before.items())


def test_judging_between_forward_and_backward_does_not_disturb_the_pass():
    grads = []
    for peek in (False, True):
        net, optimizer, method = setup()
        with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
            warnings.simplefilter("ignore")
            loss = loss_of(net)
            if peek:
                net.eval()
                with torch.no_grad():
                    net(X)
                net.train()
            loss.backward()
            grads.append(net.head.weight.grad.clone())
    assert torch.equal(*grads)


def test_evaluation_mode_with_gradients_is_the_target_and_differentiates_rightly():
    net, optimizer, method = setup()
    net.eval()
    twin = copy.deepcopy(net)
    method.target.apply_(twin)
    x, x_twin = X.clone().requires_grad_(), X.clone().requires_grad_()
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
        warnings.simplefilter("ignore")
        net(x).square().sum().backward()
    twin(x_twin).square().sum().backward()
    assert torch.equal(x.grad, x_twin.grad)


def test_restoring_the_weights_before_backward_is_an_error_and_never_a_wrong_gradient():
    net, optimizer, method = setup()
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method) as run:
        warnings.simplefilter("ignore")
        loss = net(X.clone().requires_grad_()).sum()
        run.rest()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_two_passes_in_one_autocast_region_use_two_draws():
    net, optimizer, method = setup(steps=10)
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method) as run:
        warnings.simplefilter("ignore")
        with torch.autocast("cpu", torch.bfloat16):
            net.norm.eval()
            first = net(X)
            first.float().sum().backward()
            second = net(X)
            second.float().sum().backward()
            with torch.no_grad():
                judged = net(X)
        with run.judged(), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            target = net(X)
    assert not torch.equal(first, second)
    assert torch.equal(judged, target)


def test_checkpointed_segments_recompute_what_was_computed():
    results = []
    for checkpointed in (False, True):
        net, optimizer, method = setup(steps=10)
        net.norm.eval()
        with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
            warnings.simplefilter("ignore")
            for _ in range(2):
                x = X.clone().requires_grad_()
                out = checkpoint(net, x, use_reentrant=False) if checkpointed else net(x)
                out.square().sum().backward()
                optimizer.step()
                optimizer.zero_grad()
            results.append((x.grad, net.head.weight.detach().clone()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_a_step_that_the_grad_scaler_skips_loses_nothing():
    net, optimizer, method = setup(steps=10)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before = weights(net)
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method) as run:
        warnings.simplefilter("ignore")
        scaler.scale(loss_of(net)).backward()
        first = net.head.weight.detach() != 0
        net.head.weight.grad[0, 0] = float("inf")
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert run.step == 0
        loss = scaler.scale(loss_of(net))
        assert not torch.equal(first, net.head.weight.detach() != 0), "the next pass has a fresh draw"
        run_values = torch.where(net.head.weight != 0, net.head.weight, run.slots[1].shadow)
        assert torch.equal(run_values, before["head.weight"]), "and starts from the dense values"
        loss.backward()
        scaler.step(optimizer)
        assert run.step == 1


def test_copies_pickles_and_state_dicts_know_nothing_of_us():
    net, optimizer, method = setup()
    plain = Net()
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
        warnings.simplefilter("ignore")
        assert list(net.state_dict()) == list(plain.state_dict())
        average = copy.deepcopy(net)
        revived = pickle.loads(pickle.dumps(net))
        torch.save(net, io.BytesIO())
        train(net, optimizer, 1)
        drawn = weights(net)
        for other in (average, revived):
            values = weights(other)
            other.train()
            out = other(X)
            out.sum().backward()
            assert torch.equal(other.head.weight, values["head.weight"]), "a copy is not masked"
            assert (other.head.weight.grad != 0).float().mean() > 0.9, "nor are its gradients"
            assert b"lehr" not in pickle.dumps(other).replace(b"test_attach", b"")
        assert torch.equal(net.head.weight, drawn["head.weight"]), "and does not drive the original"
    assert "_compiled_call_impl" not in net.__dict__
    assert not net.head.weight._backward_hooks


def test_export_and_compile_work_and_annealing_never_recompiles():
    net, optimizer, method = setup(steps=6)
    compilations = []

    def backend(graph, _):
        compilations.append(graph)
        return graph.forward

    torch._dynamo.reset()
    net.compile(backend=backend, fullgraph=True)
    with lehr.attach(net, optimizer, method):
        exported = torch.export.export(net.eval(), (X,))
        assert exported.state_dict.keys() == Net().state_dict().keys()
        net.train()
        train(net, optimizer, 10)
    assert len(compilations) == 1


@pytest.mark.parametrize("order", ["attach the compiled", "attach the original", "compile inside"])
def test_every_way_of_compiling_gives_the_eager_result(order):
    results = []
    for compiled in (False, True):
        net, optimizer, method = setup(steps=3)
        torch._dynamo.reset()
        called = torch.compile(net, backend="eager") if compiled else net
        attached = called if order == "attach the compiled" else net
        with lehr.attach(attached, optimizer, method):
            if compiled and order == "compile inside":
                called = torch.compile(net, backend="eager")
            train(called, optimizer, 5)
        results.append(weights(net))
    assert all(torch.equal(results[0][n], results[1][n]) for n in results[0])


def test_parameters_replaced_under_way_are_found_again():
    net, optimizer, method = setup(steps=3)
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
        warnings.simplefilter("ignore")
        train(net, optimizer, 1)
        net.load_state_dict({k: v.clone() for k, v in net.state_dict().items()}, assign=True)
        with pytest.raises(lehr.LehrError, match="conv.weight is not the parameter that the optimizer moves"):
            net(X)
        optimizer.param_groups[0]["params"] = list(net.parameters())
        net(X).sum().backward()
        keep = net.head.weight.detach() != 0
        assert (~keep).any()
        assert (net.head.weight.grad[~keep] == 0).all()


def test_a_network_that_changes_its_type_is_followed():
    net, _, method = setup(steps=4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with lehr.attach(net, optimizer, method):
        train(net, optimizer, 1)
        net.double()
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(X.double()), Y).backward()
            optimizer.step()
    assert net.head.weight.dtype == torch.float64
    assert int((net.head.weight != 0).sum()) == method.target.layer_counts()["head.weight"]


def test_a_user_may_change_weights_inside_a_pass():
    """Sharpness-aware minimisation moves the weights between two passes of a step."""
    net, optimizer, method = setup(steps=10)
    before = weights(net)["head.weight"]
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
        warnings.simplefilter("ignore")
        net(X).sum().backward()
        keep = net.head.weight.detach() != 0
        with torch.no_grad():
            net.head.weight.add_(0.25 * keep)
        net(X)
        second = net.head.weight.detach() != 0
        both = keep & second
        assert torch.allclose(net.head.weight[both], before[both] + 0.25)
        assert torch.equal(net.head.weight[second & ~keep], before[second & ~keep])


def test_inactive_weights_move_when_asked_to():
    for inactive in ("hold", "move"):
        net, optimizer, method = setup(tau=0.3, steps=10)
        with warnings.catch_warnings(), lehr.attach(net, optimizer, method, inactive=inactive):
            warnings.simplefilter("ignore")
            before = weights(net)["head.weight"]
            out = ~expected_draw(method, net, "head.weight")
            train(net, optimizer, 1)
            after = net.head.weight.detach()
            expected = before if inactive == "hold" else before - 0.1 * 1e-2 * before  # weight decay alone
            assert torch.allclose(after[out], expected[out], atol=1e-8)


def test_the_mean_fades_weights_and_their_gradients():
    net, optimizer, method = setup(tau=0.5, steps=10, realise="mean")
    before = weights(net)["head.weight"]
    target = method.target["head.weight"]
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
        warnings.simplefilter("ignore")
        loss = loss_of(net)
        assert torch.equal(net.head.weight.detach(), torch.where(target, before, before * 0.5))
        loss.backward()
        optimizer.step()
        assert not torch.equal(net.head.weight, before)
        assert (net.head.weight[~target] - before[~target] * 0.5).abs().min() > 0, "dense values come back"


def test_leaving_early_warns_and_leaves_the_dense_weights():
    net, optimizer, method = setup(steps=10)
    with pytest.warns(UserWarning, match="annealing stopped at step 2 of 10"), lehr.attach(net, optimizer, method):
        train(net, optimizer, 2)
    assert (net.head.weight != 0).all()
    with lehr.attach(net, optimizer, lehr.OneShot(method.target)):
        pass
    assert int((net.head.weight != 0).sum()) == method.target.layer_counts()["head.weight"]


def test_a_loop_that_goes_around_us_is_told():
    net, optimizer, method = setup(steps=10)
    with pytest.raises(lehr.LehrError, match="did not see"), lehr.attach(net, optimizer, method):
        net.forward(X).sum().backward()
        optimizer.step()


def test_what_cannot_work_is_refused():
    net, optimizer, method = setup()
    other = torch.optim.SGD(Net().parameters(), lr=0.1)
    with pytest.raises(lehr.LehrError, match="does not hold conv.weight, which the mask covers"):
        lehr.attach(net, other, method)
    with pytest.raises(lehr.LehrError, match="LBFGS"):
        lehr.attach(net, torch.optim.LBFGS(net.parameters()), method)
    with pytest.raises(lehr.LehrError, match="no treatment of inactive weights 'hodl'.*'hold'"):
        lehr.attach(net, optimizer, method, inactive="hodl")
    with pytest.raises(lehr.LehrError, match="attached already"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with lehr.attach(net, optimizer, method), lehr.attach(net, optimizer, method):
            pass
    with pytest.raises(lehr.LehrError, match="no parameter 'conv.weight'"):
        lehr.attach(nn.Linear(2, 2), other, method)


def test_shared_parameters_are_masked_once():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 6)
            self.b = nn.Linear(6, 6)
            self.b.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x).relu())

    net = Tied()
    mask = lehr.select(net, 0.5)
    assert list(mask) == ["a.weight"]
    assert mask.size == 36
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    with lehr.attach(net, optimizer, lehr.TemperatureAnnealing(mask, steps=3)):
        for _ in range(5):
            optimizer.zero_grad()
            net(torch.randn(3, 6)).square().sum().backward()
            optimizer.step()
    assert int((net.b.weight != 0).sum()) == 18


def test_steps_share_a_draw_where_asked():
    """The numbers are the same for three steps; the falling chance may only take weights out."""
    torch.manual_seed(0)
    net = nn.Linear(40, 20)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    mask = lehr.select(net, 0.9)
    seen = []
    with lehr.attach(net, optimizer, lehr.TemperatureAnnealing(mask, steps=12, tau=0.9, redraw_every=3)):
        for _ in range(12):
            net(torch.randn(4, 40)).sum().backward()
            seen.append(net.weight.detach() != 0)
            optimizer.step()
    for first in (0, 3, 6):
        for a, b in ((first, first + 1), (first + 1, first + 2)):
            assert (seen[a] | ~seen[b]).all(), "no weight comes in within three steps"
        assert (~seen[first + 2] & seen[first + 3]).any(), "then there is a new draw"
    with pytest.raises(lehr.LehrError, match="redraw_every is 0"):
        lehr.TemperatureAnnealing(mask, steps=12, redraw_every=0)
