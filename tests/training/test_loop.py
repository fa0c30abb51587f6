"""The loop on real digits: what it learns, and what it leaves behind."""

import math

import pytest
import torch
from torch import nn

from lehr import LehrError, OneShot, Smoothing, TemperatureAnnealing, models, select
from lehr.base.errors import Interrupted
from lehr.data import Batches, load
from lehr.runs import RunFolder, TrainSettings
from lehr.runs.weights import load_weights
from lehr.training import evaluate, fit
from lehr.training import loop as loop_module
from lehr.training.learning_rates import learning_rates
from lehr.training.optimizers import make_optimizer
from lehr.training.span import steps_per_epoch, total_steps
from lehr.training.tuning import Teacher, Tuning

DIGITS = load("digits")


def settings(**values) -> TrainSettings:
    return TrainSettings(**{"data": "digits", "model": "lenet_300_100", "epochs": 2, "batch_size": 64, **values})


def network(name: str = "lenet_300_100", seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return models.create(name, **DIGITS.sizes)


def run(tmp_path, options: TrainSettings, model: nn.Module, **more):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir(parents=True, exist_ok=True)
    return fit(model, DIGITS, options, folder, **more), folder


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["one-cycle", "linear"])
def test_digits_are_learnt(tmp_path, optimizer, schedule):
    lr = 0.1 if optimizer == "sgd" else 0.003
    outcome, folder = run(tmp_path, settings(epochs=6, optimizer=optimizer, lr=lr, schedule=schedule), network())
    assert outcome.test.accuracy > 0.9
    rows = folder.metrics()
    assert [row["epoch"] for row in rows] == list(range(1, 7))
    assert rows[-1]["step"] == 6 * 19
    assert rows[-1]["validation_nll"] < rows[0]["validation_nll"]


def test_a_run_that_is_to_look_less_often_has_the_same_bits_and_looks_at_the_end(tmp_path):
    rows, weights = {}, {}
    for every in (1, 2):
        model = network()
        options = settings(epochs=3, validate_every=every)
        _, folder = run(tmp_path / f"every {every}", options, model)
        rows[every], weights[every] = folder.metrics(), model.state_dict()
        assert options.digest == settings(epochs=3).digest
    assert [row["validation_nll"] is None for row in rows[2]] == [True, False, False]
    assert [row["loss"] for row in rows[1]] == [row["loss"] for row in rows[2]]
    assert rows[1][1:] == rows[2][1:]
    assert all(weights[1][name].equal(tensor) for name, tensor in weights[2].items())


def test_accumulated_batches_are_one_step(tmp_path):
    options = settings(epochs=1, batch_size=30, accumulate=4, lr=0.05)
    assert steps_per_epoch(options, DIGITS) == math.ceil((1257 // 30) / 4)
    model = network()
    _, folder = run(tmp_path, options, model)
    assert folder.metrics()[-1]["step"] == total_steps(options, DIGITS) == 11
    # The same by hand.
    twin = network()
    optimizer = make_optimizer("sgd", twin, 0.05, 0.9, 5e-4)
    batches = list(Batches(DIGITS, 30, 0).epoch(0))
    for step, start in enumerate(range(0, len(batches), 4)):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * learning_rates["one-cycle"](step, 11)
        optimizer.zero_grad()
        for x, y in batches[start : start + 4]:
            (nn.functional.cross_entropy(twin(x), y) / 4).backward()
        optimizer.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_bf16_learns_as_well(tmp_path):
    outcome, _ = run(tmp_path, settings(model="lenet5", epochs=4, precision="bf16"), network("lenet5"))
    assert outcome.test.accuracy > 0.9


def test_a_loss_that_is_not_finite_stops_with_a_sentence_and_keeps_the_checkpoint(tmp_path):
    model = network()
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with pytest.raises(
        LehrError, match=r"the loss became (nan|inf) at step \d+ of 38 \(epoch \d\): lower the learning"
    ):
        fit(model, DIGITS, settings(lr=1e6), folder, checkpoint_seconds=0.0)
    assert folder.checkpoint.exists()


def stop_after(monkeypatch, count: int) -> None:
    """Ask to stop after some batches, as a signal would."""
    original = loop_module._Run.batch
    left = [count]

    def batch(self, images, labels):
        original(self, images, labels)
        left[0] -= 1
        if left[0] == 0:
            self.request.signal = 15

    monkeypatch.setattr(loop_module._Run, "batch", batch)


@pytest.mark.filterwarnings("ignore:annealing stopped")
@pytest.mark.parametrize("stop", [1, 7, 19, 20, 37])
@pytest.mark.parametrize("annealed", [False, True])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_stopped_and_resumed_gives_the_same_bits(tmp_path, monkeypatch, stop, annealed, accumulate):
    options = settings(optimizer="adamw", lr=0.003, accumulate=accumulate)

    def go(folder: RunFolder) -> tuple[nn.Module, object]:
        model = network()
        method = None
        if annealed:
            method = TemperatureAnnealing(
                select(model, 0.9, scope="layer"), steps=total_steps(options, DIGITS) // 2, target="moving"
            )
        return model, fit(model, DIGITS, options, folder, tuning=Tuning(method))

    whole_folder, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    for each in (whole_folder, folder):
        each.path.mkdir()
    whole, outcome = go(whole_folder)
    with monkeypatch.context() as patch:
        stop_after(patch, stop)
        if stop == 37 and accumulate == 3:
            stop_after(patch, 36)
        with pytest.raises(Interrupted, match="the state is saved: continue with --resume"):
            go(folder)
    resumed, again = go(folder)
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert outcome.test == again.test
    assert folder.metrics_file.read_bytes() == whole_folder.metrics_file.read_bytes()


def test_damaged_checkpoints_are_refused(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(Interrupted):
            fit(network(), DIGITS, settings(), folder)
    good = folder.checkpoint.read_bytes()
    flipped = bytearray(good)
    flipped[-100] ^= 1
    for bad, message in ((good[: len(good) // 2], "is damaged"), (b"", "is damaged"), (bytes(flipped), "checksum")):
        folder.checkpoint.write_bytes(bad)
        with pytest.raises(LehrError, match=f"{message}.*delete checkpoint.safetensors"):
            fit(network(), DIGITS, settings(), folder)
    folder.checkpoint.write_bytes(good)
    with pytest.raises(LehrError, match="other settings"):
        fit(network(), DIGITS, settings(lr=0.05), folder)


def test_one_shot_without_an_epoch_is_plain_pruning(tmp_path):
    model = network()
    mask = select(model, 0.9, scope="layer")
    outcome, _ = run(tmp_path, settings(epochs=0), model, tuning=Tuning(OneShot(mask)))
    twin = network()
    mask.apply_(twin)
    assert outcome.test == evaluate(twin, DIGITS.test, DIGITS)


def test_weights_that_do_not_fit_are_told():
    own = network().state_dict()
    for change, message in (
        ({"layers.1.weight": torch.zeros(2, 2)}, r"layers.1.weight is \(2, 2\), not \(300, 64\)"),
        ({"extra": torch.zeros(1)}, "it has extra"),
    ):
        with pytest.raises(LehrError, match=message):
            load_weights(network(), {**own, **change}, "x")
    own.pop("layers.1.bias")
    with pytest.raises(LehrError, match="layers.1.bias is missing"):
        load_weights(network(), own, "x")


def test_weight_decay_spares_vectors():
    groups = make_optimizer("sgd", nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), 0.1, 0.9, 0.5).param_groups
    assert [(g["weight_decay"], {p.ndim for p in g["params"]}) for g in groups] == [(0.5, {2}), (0.0, {1})]
    with pytest.raises(LehrError, match="no optimizer 'adamx'"):
        make_optimizer("adamx", nn.Linear(1, 1), 0.1, 0.9, 0.0)


def test_evaluation_by_hand():
    """Agrees with torchmetrics and with a sum written out."""
    from torchmetrics.classification import MulticlassAccuracy

    model = network()
    scores = evaluate(model, DIGITS.test, DIGITS)
    with torch.no_grad():
        logits = model(DIGITS.prepare.judged(DIGITS.test.inputs))
    labels = DIGITS.test.targets
    metric = MulticlassAccuracy(10, average="micro")
    assert scores.accuracy == pytest.approx(float(metric(logits, labels)))
    nll = -logits.double().log_softmax(1)[torch.arange(360), labels].mean()
    assert scores.nll == pytest.approx(float(nll), rel=1e-5)
    assert model.training


def test_the_network_is_judged_in_fp32_even_when_trained_in_bf16(tmp_path):
    model = network("lenet5")
    outcome, _ = run(tmp_path, settings(model="lenet5", precision="bf16"), model)
    assert outcome.test == evaluate(model, DIGITS.test, DIGITS)


def test_a_stop_asked_for_during_the_last_look_is_heard(tmp_path, monkeypatch):
    """The validation and test passes at the end take long on large networks."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    original = loop_module._Run.judge
    calls = []

    def judge(self, split):
        calls.append(1)
        if len(calls) == 3:  # after the two epochs' own
            self.request.signal = 15
        return original(self, split)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module._Run, "judge", judge)
        with pytest.raises(Interrupted):
            fit(network(), DIGITS, settings(), folder)
    resumed, whole = network(), network()
    other = RunFolder(tmp_path / "whole")
    other.path.mkdir()
    assert fit(resumed, DIGITS, settings(), folder).test == fit(whole, DIGITS, settings(), other).test
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_weights_that_end_without_a_finite_loss_are_a_divergence(tmp_path, monkeypatch):
    from lehr.base.errors import Diverged
    from lehr.training.evaluation import Scores

    monkeypatch.setattr(loop_module, "evaluate", lambda *a, **k: Scores(0.1, math.nan, 360))
    with pytest.raises(Diverged, match="no finite loss"):
        run(tmp_path, settings(), network())


def test_a_learning_rate_that_begins_anew(tmp_path):
    _, folder = run(tmp_path, settings(epochs=4, schedule="linear", lr=0.1), network(), tuning=Tuning(restart=38))
    rates = [row["lr"] for row in folder.metrics()]  # of the last step of each epoch of 19
    assert rates == pytest.approx([0.1 * (1 - 18 / 38), 0.1 * (1 - 37 / 38)] * 2)


# -- a part of the schedule ---------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("k", [1, 7, 19, 25])
def test_two_parts_of_a_schedule_are_the_whole(tmp_path, k, accumulate):
    """Without momentum, which a part begins without, nothing but the weights goes over."""
    options = {"momentum": 0.0, "accumulate": accumulate, "schedule": "one-cycle", "lr": 0.05}
    whole = network()
    run(tmp_path / "whole", settings(**options), whole)
    steps = steps_per_epoch(settings(**options), DIGITS)
    k = min(k, 2 * steps - 1)
    early, late = settings(**options, stop=f"{k}it"), settings(**options, start=f"{k}it")
    assert (total_steps(early, DIGITS), total_steps(late, DIGITS)) == (k, 2 * steps - k)
    parts = network()
    _, first = run(tmp_path / "first", early, parts)
    assert first.metrics()[-1]["step"] == k
    _, second = run(tmp_path / "second", late, parts)
    assert second.metrics()[-1]["step"] == 2 * steps
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


def test_a_rate_that_begins_anew_does_so_at_a_step_of_the_part(tmp_path):
    _, folder = run(
        tmp_path, settings(epochs=4, schedule="linear", lr=0.1, start="1ep"), network(), tuning=Tuning(restart=19)
    )
    rates = [row["lr"] for row in folder.metrics()]
    assert rates == pytest.approx([0.1 * (1 - 37 / 38), 0.1 * (1 - 18 / 38), 0.1 * (1 - 37 / 38)])


@pytest.mark.parametrize("taught", [False, True])
def test_smoothing_is_of_the_first_steps_of_the_part_that_is_run(tmp_path, taught):
    model, twin, master = network(), network(), network(seed=1)
    smoothing = Smoothing(10, ["labels", "activations"], labels=0.4)
    teacher = Teacher(master, 0.5, 2.0) if taught else None
    run(
        tmp_path,
        settings(start="1ep", lr=0.05, momentum=0.0),
        model,
        tuning=Tuning(smoothing=smoothing, teacher=teacher),
    )
    optimizer = make_optimizer("sgd", twin, 0.05, 0.0, 5e-4)
    for t, (x, y) in enumerate(Batches(DIGITS, 64, 0).epoch(1)):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * learning_rates["one-cycle"](19 + t, 38)
        with smoothing.at(t):
            logits = twin(x)
        loss = nn.functional.cross_entropy(logits, y, label_smoothing=0.4 * max(0.0, 1 - t / 10))
        if taught:
            hint, own = ((z / 2.0).log_softmax(-1) for z in (master(x).detach(), logits))
            loss = 0.5 * loss + 0.5 * 4.0 * (hint.exp() * (hint - own)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_annealing_is_of_the_part_that_is_run(tmp_path):
    model = network()
    method = TemperatureAnnealing(select(model, 0.9, scope="layer"), steps=10, seed=0)
    run(tmp_path, settings(start="1ep"), model, tuning=Tuning(method))
    assert all((model.get_parameter(name)[~keep] == 0).all() for name, keep in method.target.items())


def test_the_order_of_the_data_is_a_seed_of_its_own(tmp_path):
    weights = []
    for i, options in enumerate(({}, {"order": 5}, {"order": 0}, {"order": 5, "seed": 1})):
        model = network()
        run(tmp_path / str(i), settings(epochs=1, **options), model)
        weights.append(next(model.parameters()).detach().clone())
    assert torch.equal(weights[0], weights[2]), "by default that of the run"
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[3]), "nothing else here is random"


@pytest.mark.parametrize(("start", "stop"), [("1ep", "5it"), ("0", "3ep"), ("100it", "1")])
def test_parts_that_are_not_of_the_schedule_are_one_sentence(tmp_path, start, stop):
    with pytest.raises(
        LehrError, match=rf"the run is to go from {start} to {stop}, steps \d+ to \d+, and the schedule has 38"
    ):
        run(tmp_path, settings(start=start, stop=stop), network())


def test_killed_between_its_last_step_and_its_metrics_a_part_has_them_all_the_same(tmp_path, monkeypatch):
    options = settings(stop="7it")
    whole = network()
    _, first = run(tmp_path / "whole", options, whole)
    with monkeypatch.context() as patch:
        patch.setattr(loop_module._Run, "metrics", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", options, network(), checkpoint_seconds=0.0)
    again = network(seed=3)
    _, second = run(tmp_path / "cut", options, again)
    assert second.metrics() == first.metrics()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
