"""Averages of late weights, and batch-norm statistics anew."""

from __future__ import annotations

import copy
from itertools import islice

import pytest
import torch
from torch import nn

from lehr import LehrError, TemperatureAnnealing, select
from lehr.base.errors import Interrupted
from lehr.data import Batches
from lehr.runs import RunFolder
from lehr.training import evaluate, fit
from lehr.training import loop as loop_module
from lehr.training.averaging import Average, check_average, has_batch_norm, reestimate_batch_norm
from lehr.training.tuning import Tuning
from tests.training.test_loop import stop_after
from tests.training.tiny import images, one_thread, plain, settings, train, with_batch_norm

__all__ = ["one_thread"]

DATA = images()
STEPS = 15  # three epochs of five batches


@pytest.fixture
def every_step(monkeypatch) -> list[dict[str, torch.Tensor]]:
    """The weights after each optimizer step, as a run goes by."""
    seen: list[dict[str, torch.Tensor]] = []
    original = loop_module._Run.batch

    def batch(self, inputs, targets):
        before = self.parts.position.step
        original(self, inputs, targets)
        if self.parts.position.step > before:
            seen.append({name: p.detach().clone() for name, p in self.parts.model.named_parameters()})

    monkeypatch.setattr(loop_module._Run, "batch", batch)
    return seen


@pytest.mark.parametrize(("share", "late"), [(0.5, 7), (0.2, 3), (0.99, 15)])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_is_the_mean_of_the_late_weights(tmp_path, every_step, share, late, accumulate):
    if accumulate == 2:  # nine steps, three an epoch
        late = {7: 5, 3: 2, 15: 9, 0: 0}[late]
    model = plain()
    train(tmp_path / "run", model, DATA, settings(average=share, accumulate=accumulate))
    assert len(every_step) == (STEPS if accumulate == 1 else 9)
    parts = every_step[len(every_step) - late :] if late else every_step[-1:]
    for name, parameter in model.named_parameters():
        mean = torch.stack([weights[name].double() for weights in parts]).mean(0)
        torch.testing.assert_close(parameter.detach().double(), mean, atol=1e-6, rtol=1e-5)


def test_of_a_part_of_the_schedule_the_average_is_of_the_late_weights_of_the_part(tmp_path, every_step):
    model = plain()
    train(tmp_path / "run", model, DATA, settings(average=0.2, start="1ep"))
    assert len(every_step) == 10
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), (every_step[-2][name] + every_step[-1][name]) / 2)


def test_without_a_share_the_last_weights_stay(tmp_path, every_step):
    model = plain()
    train(tmp_path / "run", model, DATA, settings())
    assert all(parameter.equal(every_step[-1][name]) for name, parameter in model.named_parameters())


def test_what_is_judged_at_the_end_is_the_average(tmp_path):
    model = with_batch_norm()
    outcome, folder = train(tmp_path / "run", model, DATA, settings(average=0.5, lr=0.01))
    assert outcome.validation == evaluate(model, DATA.validation, DATA)
    assert folder.metrics()[-1]["validation_nll"] != outcome.validation.nll, "the lines are of the network under way"


@pytest.mark.parametrize("stop", [5, 7, 8, 15])
@pytest.mark.parametrize("tuned", [False, True])
def test_stopped_and_resumed_it_is_the_same_average(tmp_path, monkeypatch, stop, tuned):
    options = settings(average=0.5, lr=0.01)

    def go(folder: RunFolder):
        model = with_batch_norm()
        method = None
        if tuned:
            method = TemperatureAnnealing(select(model, 0.5, scope="layer"), steps=6, target="moving")
        return model, fit(model, DATA, options, folder, tuning=Tuning(method)), method

    whole_folder, cut_folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    for each in (whole_folder, cut_folder):
        each.path.mkdir()
    whole, outcome, _ = go(whole_folder)
    with monkeypatch.context() as patch:
        stop_after(patch, stop)
        with pytest.raises(Interrupted):
            go(cut_folder)
    resumed, again, method = go(cut_folder)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert outcome.test == again.test
    assert cut_folder.metrics_file.read_bytes() == whole_folder.metrics_file.read_bytes()
    if method is not None:
        for name, keep in method.target.items():
            weight = resumed.get_parameter(name)
            assert (weight[~keep] == 0).all(), "the mean of zeros is zero, to the bit"
            assert (weight[keep] != 0).any()


def test_stopped_after_the_end_it_is_not_averaged_twice(tmp_path, monkeypatch):
    """The network is judged once more after averaging; a stop there must not save the average as the state."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    original, calls = loop_module._Run.judge, []

    def judge(self, examples):
        calls.append(1)
        if len(calls) == 4:  # after the three epochs' own
            self.request.signal = 15
        return original(self, examples)

    options = settings(average=0.5, lr=0.01)
    with monkeypatch.context() as patch:
        patch.setattr(loop_module._Run, "judge", judge)
        with pytest.raises(Interrupted):
            fit(with_batch_norm(), DATA, options, folder)
    resumed, whole = with_batch_norm(), with_batch_norm()
    again, _ = train(tmp_path / "run", resumed, DATA, options)
    outcome, _ = train(tmp_path / "whole", whole, DATA, options)
    assert again.test == outcome.test
    assert all(
        torch.equal(a, b) for a, b in zip(resumed.state_dict().values(), whole.state_dict().values(), strict=True)
    )


def test_averaging_must_not_begin_while_weights_are_annealed(tmp_path):
    model = plain()
    method = TemperatureAnnealing(select(model, 0.5), steps=8)
    with pytest.raises(
        LehrError,
        match=r"^average is 0.5, so averaging begins at step 8 and annealing ends at step 9: average less or shorten",
    ):
        fit(
            model, DATA, settings(average=0.5), RunFolder(tmp_path),
            tuning=Tuning(TemperatureAnnealing(select(model, 0.5), steps=9)),
        )  # fmt: skip
    assert check_average(0.5, STEPS, method.steps) == 8
    assert check_average(0.0, STEPS, STEPS) == STEPS, "no average, no conflict"


def test_an_average_of_nothing_changes_nothing():
    net, other = nn.Linear(2, 2), nn.Linear(2, 2)
    average = Average(net, start=3)
    average.add(other, step=3)
    before = copy.deepcopy(net.state_dict())
    average.put(net)
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())


def test_an_average_can_be_put_away_and_taken_up():
    nets = [nn.Linear(2, 2) for _ in range(4)]
    whole, first = Average(nets[0], 0), Average(nets[0], 0)
    for step, net in enumerate(nets, 1):
        whole.add(net, step)
    for step, net in enumerate(nets[:2], 1):
        first.add(net, step)
    saved = {name: t.clone() for name, t in first.state().items()}
    second = Average(nn.Linear(2, 2), 0)
    second.load(saved)
    for step, net in enumerate(nets[2:], 3):
        second.add(net, step)
    for name, t in whole.state().items():
        assert torch.equal(t, second.state()[name])


# -- batch-norm ---------------------------------------------------------------------------------------------


def direct(model: nn.Module, batches: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The mean over batches of each layer's batch mean and unbiased variance, in doubles, one batch at a time."""
    sums: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    twin = copy.deepcopy(model).double().train()
    for name, layer in twin.named_modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):

            def note(_, inputs, name=name):
                flat = inputs[0].transpose(0, 1).reshape(inputs[0].shape[1], -1)
                sums.setdefault(name, []).append((flat.mean(1), flat.var(1)))

            layer.register_forward_pre_hook(note)
    with torch.no_grad():
        for inputs in batches:
            twin(inputs.double())
    found = {}
    for name, pairs in sums.items():
        means, variances = zip(*pairs, strict=True)
        found[f"{name}.running_mean"] = torch.stack(means).mean(0)
        found[f"{name}.running_var"] = torch.stack(variances).mean(0)
    return found


@pytest.mark.parametrize("training", [False, True])
def test_statistics_anew_are_those_of_the_batches(training):
    model = with_batch_norm().train(training)
    batches = [torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(s)) * (s + 1) for s in range(3)]
    model[1].running_mean.fill_(100.0)  # what was remembered is forgotten
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    expected = direct(model, batches)
    reestimate_batch_norm(model, batches)
    for name, value in expected.items():
        torch.testing.assert_close(model.get_buffer(name).double(), value, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(weights[name], p) for name, p in model.named_parameters()), "weights are untouched"
    assert model.training == training
    assert {m.momentum for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))} == {0.1}
    assert all(p.grad is None for p in model.parameters())


def test_only_running_statistics_count_as_batch_norm():
    assert has_batch_norm(with_batch_norm())
    assert not has_batch_norm(nn.BatchNorm1d(2, track_running_stats=False))
    assert not has_batch_norm(plain())


@pytest.mark.parametrize(("values", "count"), [({"bn_batches": 2}, 2), ({"bn_batches": 50}, 5), ({"average": 0.5}, 5)])
def test_a_run_ends_with_statistics_of_an_epoch_of_its_own(tmp_path, values, count):
    options = settings(lr=0.01, **values)
    model = with_batch_norm()
    train(tmp_path / "run", model, DATA, options)
    inputs = [x for x, _ in islice(Batches(DATA, 8, 0).epoch(options.epochs), count)]
    assert len(inputs) == count
    for name, value in direct(model, inputs).items():
        torch.testing.assert_close(model.get_buffer(name).double(), value, atol=1e-5, rtol=1e-5)


def test_statistics_are_left_alone_unless_asked(tmp_path):
    """None means: anew for an average, whose weights no training pass has seen; 0 means never."""
    for number, values in enumerate(({}, {"average": 0.5, "bn_batches": 0})):
        model = with_batch_norm()
        train(tmp_path / f"run{number}", model, DATA, settings(lr=0.01, **values))
        assert int(model[1].num_batches_tracked) == STEPS


def test_statistics_anew_do_not_move_the_weights_of_a_run(tmp_path):
    plainly, anew = with_batch_norm(), with_batch_norm()
    train(tmp_path / "a", plainly, DATA, settings(lr=0.01))
    train(tmp_path / "b", anew, DATA, settings(lr=0.01, bn_batches=3))
    assert all(torch.equal(a, b) for a, b in zip(plainly.parameters(), anew.parameters(), strict=True))
    assert not torch.equal(plainly[1].running_var, anew[1].running_var)


def test_an_average_of_no_step_is_refused(tmp_path):
    with pytest.raises(LehrError, match="average is 0.01 and the run has 15 steps, of which that is none"):
        train(tmp_path / "run", with_batch_norm(), DATA, settings(average=0.01))
