"""One level of a lottery ticket: what is reset, to the bit, and where on the schedule it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import lehr
from lehr import LehrError, Mask
from lehr.recipes import ticket as ticket_module
from lehr.recipes.ticket import ticket
from lehr.recipes.train import train
from lehr.runs import RunFolder, TicketSettings, TrainSettings, validated
from lehr.runs.digest import weights_digest
from lehr.training import loop as loop_module
from lehr.training.learning_rates import learning_rates

SHORT = {"data": "digits", "model": "lenet_300_100", "epochs": 2, "batch_size": 64, "threads": 1}
K, STEPS = 13, 38
Weights = dict[str, torch.Tensor]


NORMED = """
from torch import nn
def net(num_classes):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(4 * 36, num_classes)
    )
"""


def level(parent: Path, number: int, **changes) -> TicketSettings:
    digest = weights_digest(RunFolder(parent).weights())
    own = {"parent": str(parent), "parent_digest": digest, "level": number, "rate": 0.5, "start": f"{K}it"}
    return validated(TicketSettings, {**SHORT, **own, **changes})


def rewound(tensors: Weights, mask: Mask) -> Weights:
    """Snapshot times mask."""
    return {name: tensor * mask[name] if name in mask else tensor for name, tensor in tensors.items()}


class Watched:
    """The weights, the rate and the batch of every step of one run."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.weights: dict[int, Weights] = {}
        self.rates: dict[int, float] = {}
        self.targets: dict[int, torch.Tensor] = {}
        whole = loop_module._Run.batch

        def batch(run, inputs, targets):
            step = run.parts.position.step
            if step not in self.weights:  # the first batch of a step
                self.weights[step] = {name: t.detach().clone() for name, t in run.parts.model.state_dict().items()}
            self.targets[step] = targets.clone()
            whole(run, inputs, targets)
            self.rates[step] = run.parts.optimizer.param_groups[0]["lr"]

        patch.setattr(loop_module._Run, "batch", batch)


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> tuple[Path, Watched]:
    folder = tmp_path_factory.mktemp("ticket") / "dense"
    with pytest.MonkeyPatch.context() as patch:
        seen = Watched(patch)
        train(TrainSettings(**SHORT), folder)
    return folder, seen


@pytest.fixture(scope="module")
def first(dense, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ticket") / "one"
    ticket(level(dense[0], 1), folder)
    return folder


def test_the_origin_is_the_dense_network_at_step_k_to_the_bit(dense, first):
    origin = load_file(first / "origin.safetensors")
    assert all(torch.equal(origin[name], tensor) for name, tensor in dense[1].weights[K].items())
    assert not (first / "way").exists()


@pytest.mark.parametrize("changes", [{}, {"average": 0.9}, {"accumulate": 2, "batch_size": 32}])
def test_where_the_dense_run_kept_step_k_nothing_is_trained_twice(tmp_path, monkeypatch, changes):
    """With batch-norm, whose statistics move with every batch of a step."""
    (tmp_path / "mine.py").write_text(NORMED)
    changes = {**changes, "model": f"{tmp_path / 'mine.py'}:net"}
    own = {**SHORT, **changes}
    with monkeypatch.context() as patch:
        seen = Watched(patch)
        train(TrainSettings(**own, keep=(f"{K}it", "0")), tmp_path / "dense")
    given = {name: value for name, value in changes.items() if name != "average"}
    for start, step in ((f"{K}it", K), ("0", 0)):
        with monkeypatch.context() as patch:
            patch.setattr(ticket_module, "train", None)
            ticket(level(tmp_path / "dense", 1, start=start, **given), tmp_path / start)
        origin = load_file(tmp_path / start / "origin.safetensors")
        assert all(torch.equal(origin[name], tensor) for name, tensor in seen.weights[step].items())


def test_what_a_dense_run_did_not_keep_is_trained_once_and_kept(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        seen = Watched(patch)
        train(TrainSettings(**SHORT), tmp_path / "dense")
    ticket(level(tmp_path / "dense", 1), tmp_path / "one")
    monkeypatch.setattr(ticket_module, "train", None)
    ticket(level(tmp_path / "dense", 1, control="shuffle"), tmp_path / "other")
    for name in ("one", "other"):
        origin = load_file(tmp_path / name / "origin.safetensors")
        assert all(torch.equal(origin[key], tensor) for key, tensor in seen.weights[K].items())


def test_kept_weights_that_are_not_those_that_were_written_are_refused(tmp_path):
    train(TrainSettings(**SHORT, keep=(f"{K}it",)), tmp_path / "dense")
    file = tmp_path / "dense" / f"at-{K}.safetensors"
    file.write_bytes((tmp_path / "dense" / "model.safetensors").read_bytes())
    for _ in range(2):
        with pytest.raises(LehrError, match=rf"at-{K}.safetensors is damaged: its checksum does not match; delete it"):
            ticket(level(tmp_path / "dense", 1), tmp_path / "one", resume=True)
    file.unlink()
    assert ticket(level(tmp_path / "dense", 1), tmp_path / "one", resume=True)["test"]["accuracy"] > 0


def test_a_damaged_origin_does_not_go_into_the_next_level(tmp_path):
    train(TrainSettings(**SHORT, keep=(f"{K}it",)), tmp_path / "dense")
    ticket(level(tmp_path / "dense", 1), tmp_path / "one")
    origin = RunFolder(tmp_path / "one").origin
    content = bytearray(origin.read_bytes())
    content[-400] ^= 1  # one bit of one weight
    origin.write_bytes(content)
    with pytest.raises(LehrError, match=r"one/origin\.safetensors is damaged: its checksum does not match; delete it"):
        ticket(level(tmp_path / "one", 2), tmp_path / "two")
    origin.unlink()
    ticket(level(tmp_path / "one", 2), tmp_path / "two", resume=True)
    kept = load_file(tmp_path / "dense" / f"at-{K}.safetensors")
    assert all(torch.equal(kept[name], t) for name, t in load_file(tmp_path / "two" / "origin.safetensors").items())


def test_what_was_trained_up_to_the_step_is_put_away_after_a_kill_too(tmp_path, monkeypatch):
    train(TrainSettings(**SHORT), tmp_path / "dense")
    with monkeypatch.context() as patch:
        patch.setattr(ticket_module.shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ticket(level(tmp_path / "dense", 1), tmp_path / "one")
    assert (tmp_path / "one" / "way").is_dir()
    ticket(level(tmp_path / "dense", 1), tmp_path / "one", resume=True)
    assert not (tmp_path / "one" / "way").exists()


def test_a_chain_that_was_moved_finds_its_dense_run(tmp_path):
    train(TrainSettings(**SHORT), tmp_path / "runs" / "dense")
    ticket(level(tmp_path / "runs" / "dense", 1), tmp_path / "runs" / "one")
    (tmp_path / "runs").rename(tmp_path / "moved")
    result = ticket(level(tmp_path / "moved" / "one", 2, start="5it"), tmp_path / "moved" / "two")
    assert result["test"]["accuracy"] > 0


def test_what_is_kept_on_the_way_names_no_other_run(tmp_path):
    keeping, plain = TrainSettings(**SHORT, keep=("1it",)), TrainSettings(**SHORT)
    assert keeping.digest == plain.digest
    train(keeping, tmp_path / "dense")
    assert train(plain, tmp_path / "dense", resume=True)["test"]["accuracy"] > 0


def test_of_a_network_that_was_averaged_the_origin_is_not(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        seen = Watched(patch)
        train(TrainSettings(**SHORT, average=0.9), tmp_path / "dense")
    ticket(level(tmp_path / "dense", 1), tmp_path / "one")
    origin = load_file(tmp_path / "one" / "origin.safetensors")
    assert all(torch.equal(origin[name], tensor) for name, tensor in seen.weights[K].items())


def test_survivors_are_reset_bit_for_bit_and_the_schedule_goes_on(dense, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        seen = Watched(patch)
        ticket(level(dense[0], 1), tmp_path / "one")
    mask = Mask.load(tmp_path / "one" / "mask.safetensors")
    wanted = rewound(dense[1].weights[K], mask)
    steps = sorted(step for step in seen.rates if step >= K)
    assert steps == list(range(K, STEPS))
    assert all(torch.equal(seen.weights[K][name], wanted[name]) for name in wanted), "snapshot times mask, exactly"
    for step in steps:
        assert torch.equal(seen.targets[step], dense[1].targets[step]), "the order of the data goes on from step k"
        assert seen.rates[step] == dense[1].rates[step] == 0.1 * learning_rates["one-cycle"](step, STEPS)
    for step in steps[1:]:
        assert all((seen.weights[step][name][~keep] == 0).all() for name, keep in mask.items())


def test_statistics_of_batch_norm_go_back_too(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(NORMED)
    own = {"model": f"{tmp_path / 'mine.py'}:net"}
    seen = {}
    for name in ("dense", "one"):
        with monkeypatch.context() as patch:
            seen[name] = Watched(patch)
            if name == "dense":
                train(TrainSettings(**{**SHORT, **own}), tmp_path / "dense")
            else:
                ticket(level(tmp_path / "dense", 1, **own), tmp_path / "one")
    wanted = rewound(seen["dense"].weights[K], Mask.load(tmp_path / "one" / "mask.safetensors"))
    begun = seen["one"].weights[K]
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} <= set(wanted)
    assert all(torch.equal(begun[name], wanted[name]) for name in wanted)
    assert begun["1.num_batches_tracked"] == K


@pytest.mark.parametrize(("name", "value"), [("batch_size", 32), ("seed", 1), ("epochs", 3), ("limit", 200)])
def test_a_ticket_has_what_step_k_of_its_parent_goes_by(dense, tmp_path, name, value):
    with pytest.raises(LehrError, match=rf"{name} is {value} and .* in .*: a ticket goes back to a step of its parent"):
        ticket(level(dense[0], 1, **{name: value}), tmp_path / "one")


def test_the_mask_is_of_the_largest_weights_at_the_end_and_levels_are_nested(dense, first, tmp_path):
    ticket(level(first, 2), tmp_path / "two")
    masks = [Mask.load(path / "mask.safetensors") for path in (first, tmp_path / "two")]
    final = RunFolder(dense[0]).weights()
    flat = torch.cat([final[name].abs().flatten() for name in masks[0]])
    chosen = torch.cat([masks[0][name].flatten() for name in masks[0]])
    assert flat[chosen].min() >= flat[~chosen].max()
    assert (masks[1] - masks[0]).kept == 0
    assert [mask.kept for mask in masks] == [round(0.5 * masks[0].size), round(0.25 * masks[0].size)]
    assert (tmp_path / "two" / "origin.safetensors").read_bytes() == (first / "origin.safetensors").read_bytes()


def test_rate_rewinding_keeps_the_weights_and_fine_tuning_the_rate_too(dense, tmp_path, monkeypatch):
    final = RunFolder(dense[0]).weights()
    for rewind, schedule, lr in (("rate", "one-cycle", 0.1), ("no", "constant", 0.001)):
        with monkeypatch.context() as patch:
            seen = Watched(patch)
            ticket(level(dense[0], 1, rewind=rewind, schedule=schedule, lr=lr), tmp_path / rewind)
        mask = Mask.load(tmp_path / rewind / "mask.safetensors")
        begun = seen.weights[K]
        assert all(torch.equal(begun[name], tensor) for name, tensor in rewound(final, mask).items())
        assert seen.rates[K] == lr * learning_rates[schedule](K, STEPS)


def test_controls_have_as_many_weights_in_every_layer(dense, first, tmp_path):
    own = Mask.load(first / "mask.safetensors")
    final = RunFolder(dense[0]).weights()
    for control in ("shuffle", "invert"):
        ticket(level(dense[0], 1, control=control), tmp_path / control)
        mask = Mask.load(tmp_path / control / "mask.safetensors")
        assert mask != own
        assert [row.kept for row in mask.layers()] == [row.kept for row in own.layers()]
        if control == "invert":
            for name, keep in mask.items():
                assert final[name].abs()[keep].max() <= final[name].abs()[~keep].min()


def test_another_seed_shuffles_to_other_places(dense, tmp_path):
    train(TrainSettings(**SHORT, seed=1), tmp_path / "other")
    for seed, parent in ((0, dense[0]), (1, tmp_path / "other")):
        ticket(level(parent, 1, control="shuffle", seed=seed, scope="layer"), tmp_path / str(seed))
    first, second = (Mask.load(tmp_path / str(seed) / "mask.safetensors") for seed in (0, 1))
    assert [row.kept for row in first.layers()] == [row.kept for row in second.layers()]
    assert (first & second).density == pytest.approx(0.25, abs=0.1), "as chance has it, of two halves"


def test_reinitialised_weights_are_those_of_another_seed(dense, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        seen = Watched(patch)
        ticket(level(dense[0], 1, reinit=7), tmp_path / "reinit")
    mask = Mask.load(tmp_path / "reinit" / "mask.safetensors")
    torch.manual_seed(7)
    fresh = lehr.models.create("lenet_300_100", num_classes=10, input_shape=(1, 8, 8)).state_dict()
    assert all(torch.equal(seen.weights[K][name], tensor) for name, tensor in rewound(fresh, mask).items())


def test_left_out_layers_do_not_count_for_the_rate(dense, tmp_path):
    """The realised rate on what is pruned is the one that was asked for."""
    ticket(level(dense[0], 1, exclude_modules=("layers.1",)), tmp_path / "part")
    mask = Mask.load(tmp_path / "part" / "mask.safetensors")
    assert "layers.1.weight" not in mask
    assert mask.kept == round(0.5 * mask.size)


def test_a_shuffled_mask_is_not_kept_to_what_the_levels_before_have_left(first, dense, tmp_path):
    """At level 3 a mask that is random in the whole layer shares little with the ticket."""
    ticket(level(first, 2), tmp_path / "two")
    for control in ("none", "shuffle", "invert"):
        ticket(level(tmp_path / "two", 3, control=control), tmp_path / control)
    masks = {c: Mask.load(tmp_path / c / "mask.safetensors") for c in ("none", "shuffle", "invert")}
    before = Mask.load(tmp_path / "two" / "mask.safetensors")
    share = (masks["shuffle"] & masks["none"]).kept / masks["none"].kept
    assert share < 0.35, "one in eight by chance, more in small layers"
    assert (masks["invert"] - before).kept == 0
    overlap = (masks["invert"] & masks["none"]).kept / masks["none"].kept
    assert overlap < 0.2, "only where more than half of a layer is kept"


def test_a_method_does_not_bring_back_what_was_pruned(first, tmp_path):
    changes = {"method": "temperature-annealing", "target": "moving"}
    ticket(level(first, 2, **changes), tmp_path / "two")
    assert (Mask.load(tmp_path / "two" / "mask.safetensors") - Mask.load(first / "mask.safetensors")).kept == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": 3}, "level is 3 and .* is level 0: levels come one after the other"),
        ({"number": 1, "control": "shufle"}, "there is no control 'shufle': did you mean 'shuffle'"),
        ({"number": 1, "rate": 1.0}, "rate is 1.0"),
        ({"number": 1, "start": "1"}, "rewinding to 1 leaves no step of the schedule to train: go back further"),
        (
            {"number": 1, "control": "shuffle", "method": "gradual"},
            "control is shuffle and gradual chooses its weights again",
        ),
        ({"number": 1, "distill": 0.5}, "distill is 0.5, and a ticket has no use for it"),
        ({"number": 1, "schedule": "allr"}, "schedule is allr, which a ticket cannot have"),
        ({"number": 1, "method": "dense"}, "method is dense, which a ticket cannot have"),
        ({"number": 1, "sparsity": 0.9}, "sparsity is 0.9 and that of a ticket follows from level and rate"),
        ({"number": 1, "granularity": "2:4"}, "granularity is 2:4, which is sparse by itself"),
        ({"number": "1"}, "level is '1'"),
        ({"number": -1}, "level is -1"),
        ({"number": 0, "control": "shuffle"}, "level is 0, the dense network once more, with control shuffle"),
        ({"number": 1, "start": "9ep"}, "the run is to go from 9ep to 1, steps 171 to 38"),
    ],
)
def test_what_cannot_work_is_one_sentence(dense, tmp_path, change, message):
    with pytest.raises(LehrError, match=message):
        ticket(level(dense[0], change.pop("number"), **change), tmp_path / "run")


def test_a_branch_to_another_step_has_the_mask_of_its_level_on_the_weights_of_that_step(
    dense, first, tmp_path, monkeypatch
):
    ticket(level(first, 2), tmp_path / "usual")
    with monkeypatch.context() as patch:
        seen = Watched(patch)
        ticket(level(first, 2, start="5it"), tmp_path / "branch")
    mask = Mask.load(tmp_path / "branch" / "mask.safetensors")
    assert mask == Mask.load(tmp_path / "usual" / "mask.safetensors")
    wanted = rewound(dense[1].weights[5], mask)
    assert all(torch.equal(seen.weights[5][name], wanted[name]) for name in wanted)
    assert seen.rates[5] == dense[1].rates[5]


def test_level_0_is_the_dense_network_from_step_k_on(dense, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        seen = Watched(patch)
        result = ticket(level(dense[0], 0, order=7), tmp_path / "zero")
    whole = dense[1].weights[K]
    assert all(torch.equal(seen.weights[K][name], whole[name]) for name in whole)
    assert not torch.equal(seen.targets[K], dense[1].targets[K]), "in another order"
    assert Mask.load(tmp_path / "zero" / "mask.safetensors").sparsity == 0
    assert result["nonzeros"] > 0.99 * sum(tensor.numel() for tensor in whole.values())


def test_level_0_from_step_0_in_the_same_order_is_the_dense_run(dense, tmp_path):
    ticket(level(dense[0], 0, start="0"), tmp_path / "zero")
    found, wanted = RunFolder(tmp_path / "zero").weights(), RunFolder(dense[0]).weights()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
