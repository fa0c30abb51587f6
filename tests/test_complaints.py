"""What people complain about in pruning libraries, each complaint a test that it does not hold here."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import time
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import lehr
from lehr import Mask, models
from lehr.base.errors import Interrupted
from lehr.recipes.train import train as train_recipe
from lehr.recipes.tune import tune as tune_recipe
from lehr.recipes.tune import tune_settings
from lehr.runs import RunFolder, TrainSettings, load_checkpoint
from lehr.runtime.native import available as engine
from lehr.sparsify.method import methods
from lehr.training import loop as loop_module
from tests.sparsify.contract import OPTIMIZERS, STEPS, Net, batch, build, same, state, train

MOVING = "temperature-annealing, moving"


@pytest.fixture(autouse=True)
def threads():
    """Runs set the number of threads; the tests after these get theirs back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> Path:
    """A trained run to start from."""
    folder = tmp_path_factory.mktemp("dense") / "run"
    train_recipe(TrainSettings(data="digits", model="lenet_300_100", epochs=2, batch_size=64, threads=1), folder)
    return folder


def tuned(dense: Path, out: Path, *, resume: bool = False, **values) -> dict:
    settings = tune_settings(dense, {"sparsity": 0.9, "epochs": 1, "scope": "layer", "threads": 1, **values})
    return tune_recipe(settings, out, resume=resume)


def zeros_outside(tensors, mask: Mask) -> bool:
    return all((tensors[name][~keep] == 0).all() for name, keep in mask.items())


def values_of(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


# -- masks are lost on resume; the checkpoint is not really sparse ----------------------------------------


@pytest.mark.parametrize("row", ["gradual", MOVING])
def test_masks_survive_a_kill_at_every_step(row):
    """'My masks were gone after resuming': a state saved with torch.save after any step leads to the same bits."""
    end = STEPS + 3
    saved = []
    net, optimizer, method = build(row, "adamw")
    torch.manual_seed(7)
    with lehr.attach(net, optimizer, method) as run:
        for step in range(end):
            train(net, optimizer, range(step, step + 1))
            file = io.BytesIO()
            everything = {
                "net": net.state_dict(),
                "optimizer": optimizer.state_dict(),
                "lehr": run.state_dict(),
                "random": torch.get_rng_state(),
            }
            torch.save(everything, file)
            saved.append((file.getvalue(), method.target.digest))
    whole, mask = state(net, optimizer), method.target

    for done, (content, digest) in enumerate(saved, start=1):
        net, optimizer, method = build(row, "adamw")
        with lehr.attach(net, optimizer, method) as run:
            loaded = torch.load(io.BytesIO(content), weights_only=False)
            net.load_state_dict(loaded["net"])
            optimizer.load_state_dict(loaded["optimizer"])
            run.load_state_dict(loaded["lehr"])
            torch.set_rng_state(loaded["random"])
            assert run.target.digest == digest, f"the mask after step {done} comes back"
            train(net, optimizer, range(done, end))
        assert same(state(net, optimizer), whole), f"killed after step {done}"
        assert method.target == mask


def test_a_state_saved_with_torch_save_is_loaded_by_default():
    """'My checkpoint does not load any more': torch.load takes the attachment's state as it takes the network's."""
    net, optimizer, method = build("gradual")
    file = io.BytesIO()
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method) as run:
        warnings.simplefilter("ignore")
        train(net, optimizer, range(3))
        torch.save({"net": net.state_dict(), "lehr": run.state_dict()}, file)
        loaded = torch.load(io.BytesIO(file.getvalue()))  # weights_only=True, as is the default
        digest = run.target.digest
        run.load_state_dict(loaded["lehr"])
        assert run.target.digest == digest


@pytest.mark.parametrize("method", sorted(methods))
def test_every_file_written_at_the_end_is_exactly_sparse(dense, tmp_path, method):
    """'The saved network was dense': zeros in the file lie outside the mask, and the count in the result is the file's."""
    result = tuned(dense, tmp_path / "small", method=method)
    tensors = load_file(tmp_path / "small" / "model.safetensors")
    mask = Mask.load(tmp_path / "small" / "mask.safetensors")
    assert zeros_outside(tensors, mask)
    assert mask.kept == result["kept"] == round(0.1 * mask.size)
    nonzeros = {name: tensor != 0 for name, tensor in tensors.items()}
    assert all((nonzeros[name] <= mask[name]).all() for name in mask), "the mask is that of the zeros, or denser"
    assert result["nonzeros"] == sum(int(pattern.sum()) for pattern in nonzeros.values())


@pytest.mark.filterwarnings("ignore:annealing stopped")
@pytest.mark.parametrize(("stop", "sparse"), [(4, False), (15, True)])
def test_a_checkpoint_after_annealing_is_sparse_too(dense, tmp_path, monkeypatch, stop, sparse):
    """'Only the final file is sparse': a run stopped after its annealing has a sparse checkpoint, and its mask in it."""
    original, batches = loop_module._Run.batch, []

    def stopping(self, images, labels):
        original(self, images, labels)
        batches.append(1)
        if len(batches) == stop:
            self.request.signal = 15

    with monkeypatch.context() as patch:
        patch.setattr(loop_module._Run, "batch", stopping)
        with pytest.raises(Interrupted):
            tuned(dense, tmp_path / "cut", method="temperature-annealing", target="moving")
    folder = RunFolder(tmp_path / "cut")
    checkpoint = load_checkpoint(folder.checkpoint, folder.settings().digest)
    mask = Mask.from_state_dict(checkpoint.attachment["method"]["target"])
    assert zeros_outside(checkpoint.model, mask) == sparse
    tuned(dense, tmp_path / "cut", method="temperature-annealing", target="moving", resume=True)
    tuned(dense, tmp_path / "whole", method="temperature-annealing", target="moving")
    for name in ("model.safetensors", "mask.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# -- sparsity saves nothing on disk -------------------------------------------------------------------------


def test_a_sparse_network_is_a_small_file(tmp_path):
    """'90 % of the weights are 0 and the file is as large as before': below 15 % of the dense fp32 bytes, bit for bit."""
    torch.manual_seed(0)
    net = models.create("lenet_300_100", num_classes=10, input_shape=(1, 28, 28))
    mask = lehr.prune(net, 0.9)
    lehr.save(net, tmp_path / "small.lehr", mask=mask)
    dense = sum(4 * tensor.numel() for tensor in net.state_dict().values())
    assert (tmp_path / "small.lehr").stat().st_size < 0.15 * dense
    assert same(lehr.load_state_dict(tmp_path / "small.lehr"), net.state_dict())
    assert lehr.load_mask(tmp_path / "small.lehr") == mask


# -- it is not faster, or slower ----------------------------------------------------------------------------


@pytest.mark.skipif(not engine(), reason="the compiled part was not built")
def test_a_layer_is_sparse_only_where_that_was_measured_to_be_faster_and_the_report_says_so():
    """'The pruned model is slower': each layer's kernels are timed in the network, and the loser is told beside the winner."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1)).eval()
    lehr.prune(net, 0.98, target_modules=["2"])
    report = lehr.compile(net, torch.randn(1, 16, 16, 16)).report
    first, last = report.layers
    assert first.other is not None, "all of its weights are there: both kinds were tried"
    assert (last.tiling.group, last.other) == (0, None), "a dense kernel would do fifty times the work"
    for layer in report.layers:
        assert layer.other is None or layer.seconds <= layer.other
    assert "dense" in str(report)
    assert "sparse" in str(report)


@pytest.mark.skipif(not engine(), reason="the compiled part was not built")
def test_one_input_takes_no_milliseconds_of_overhead():
    """'A sparse product of 8 us takes 7 ms': the whole call for a small layer and a batch of one, generously."""
    net = nn.Linear(64, 64).eval()
    lehr.prune(net, 0.9)
    fast, x = lehr.compile(net, torch.randn(1, 64)), torch.randn(1, 64).numpy()
    times = []
    for _ in range(50):
        begin = time.perf_counter()
        fast(x)
        times.append(time.perf_counter() - begin)
    assert sorted(times)[25] < 2e-3


# -- the keys of the state dict are renamed -----------------------------------------------------------------


def test_the_state_dict_has_the_dense_networks_keys_at_every_moment():
    """'weight_orig and weight_mask do not load': keys before, within a pass, between passes and after are the same."""
    keys = list(Net().state_dict())
    net, optimizer, method = build(MOVING)
    with lehr.attach(net, optimizer, method):
        for step in range(STEPS + 1):
            x, y = batch(step)
            loss = nn.functional.cross_entropy(net(x), y)
            assert list(net.state_dict()) == keys, "between forward and backward"
            loss.backward()
            assert [name for name, _ in net.named_parameters()] == [name for name, _ in Net().named_parameters()]
            optimizer.step()
            optimizer.zero_grad()
            assert list(net.state_dict()) == keys
    assert list(net.state_dict()) == keys
    Net().load_state_dict(net.state_dict(), strict=True)
    assert [name for name, _ in net.named_buffers()] == [name for name, _ in Net().named_buffers()]


def test_a_saved_network_loads_strictly_into_the_plain_one(dense, tmp_path):
    """'I need the pruning library to load my network': the file loads with strict=True and gives the scores told."""
    from lehr.data import load
    from lehr.training import evaluate

    result = tuned(dense, tmp_path / "small", method="gradual")
    plain = models.create("lenet_300_100", num_classes=10, input_shape=(1, 8, 8))
    plain.load_state_dict(load_file(tmp_path / "small" / "model.safetensors"), strict=True)
    digits = load("digits")
    torch.set_num_threads(1)
    assert evaluate(plain, digits.test, digits).as_dict() == result["test"]


# -- deepcopy, averages, hooks, compilation break -----------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_made_while_annealing_is_an_independent_plain_network(duplicate):
    """'deepcopy fails, or the copy stays tied to the original': copies hold the dense values and train on their own."""
    net, optimizer, method = build(MOVING)
    with lehr.attach(net, optimizer, method):
        for step in range(STEPS):
            train(net, optimizer, range(step, step + 1))
            before = values_of(net)
            other = duplicate(net)
            own = torch.optim.SGD(other.parameters(), lr=0.1)
            train(other, own, range(2))
            assert same(values_of(net), before), "training the copy leaves the original alone"
            with torch.no_grad():
                other.head.weight.fill_(1.0)
            other(batch(0)[0]).sum().backward()
            assert (other.head.weight == 1.0).all(), "the copy is not masked"


def test_an_exponential_average_follows_the_dense_weights_and_is_sparse_once_masked():
    """'EMA breaks or averages masked weights': AveragedModel gives the average by hand, and a mask makes it sparse."""
    net, optimizer, method = build("temperature-annealing")
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    by_hand: dict[str, torch.Tensor] = {}
    with lehr.attach(net, optimizer, method) as run:
        for step in range(STEPS + 4):
            train(net, optimizer, range(step, step + 1))
            average.update_parameters(net)
            for name, value in net.named_parameters():
                former = by_hand.get(name, value.detach())
                by_hand[name] = former + 0.5 * (value.detach() - former)
            with torch.no_grad():
                average(batch(step)[0])
        for name, value in average.module.named_parameters():
            assert torch.allclose(value, by_hand[name], atol=1e-6), name
        run.target.apply_(average.module)
    assert zeros_outside(average.module.state_dict(), method.target)
    assert list(average.module.state_dict()) == list(Net().state_dict())
    assert type(average.module) is Net


def with_hooks(net: nn.Module) -> list[str]:
    """Put one hook of each kind on a network and its head; return the list they write to."""
    said: list[str] = []

    def speak(what, result=None):
        return lambda *_, **__: said.append(what) or result

    net.register_forward_pre_hook(speak("first pre"))
    net.register_forward_pre_hook(speak("second pre"), with_kwargs=True)
    net.register_forward_pre_hook(speak("prepended pre"), prepend=True)
    net.register_forward_hook(speak("first post"))
    net.register_forward_hook(speak("second post"), always_call=True)
    net.head.register_forward_pre_hook(speak("head pre"))
    net.head.register_forward_hook(speak("head post"))
    net.head.register_full_backward_pre_hook(speak("head backward pre"))
    net.head.register_full_backward_hook(speak("head backward"))
    net.head.weight.register_hook(speak("gradient"))
    net.head.weight.register_post_accumulate_grad_hook(speak("accumulated"))
    net.register_state_dict_pre_hook(speak("saved"))
    return said


@pytest.mark.parametrize("moment", ["before", "inside"])
def test_a_users_own_hooks_fire_in_order_as_without_us(moment):
    """'My hooks stopped firing': hooks of every kind keep their order and number, while annealing and after."""
    plain, optimizer, _ = build("temperature-annealing")
    expected = with_hooks(plain)
    train(plain, optimizer, range(STEPS + 2))
    plain.state_dict()

    net, optimizer, method = build("temperature-annealing")
    said = with_hooks(net) if moment == "before" else []
    with lehr.attach(net, optimizer, method):
        if moment == "inside":
            said = with_hooks(net)
        train(net, optimizer, range(STEPS + 2))
        net.state_dict()
    assert said == expected
    train(net, optimizer, range(1))
    train(plain, optimizer, range(1))
    assert said[-5:] == expected[-5:], "and after the block"
    assert len(said) == len(expected)


def test_a_hook_may_change_what_passes_and_sees_the_drawn_network():
    """'Activations in my hook are not those of the pruned network': they are, and what a hook returns counts."""
    net, optimizer, method = build("temperature-annealing")
    seen = []
    net.head.register_forward_hook(lambda module, given, out: seen.append((given[0], module.weight.clone(), out)))
    net.register_forward_hook(lambda module, given, out: 2 * out)
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
        warnings.simplefilter("ignore")
        doubled = net(batch(0)[0])
        given, weight, out = seen.pop()
        assert (weight == 0).any()
        assert torch.equal(out, nn.functional.linear(given, weight, net.head.bias))
        assert torch.equal(doubled, 2 * out)


def test_compiled_with_hooks_it_gives_the_eager_bits():
    """'torch.compile and pruning do not go together': compiled, hooks on, the bits are those of the eager network."""
    results = []
    for compiled in (False, True):
        torch._dynamo.reset()
        net, optimizer, method = build("random-annealing")
        net.drop.p = 0.0
        calls: list[int] = []
        net.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        called = torch.compile(net, backend="eager") if compiled else net
        with lehr.attach(called, optimizer, method):
            train(called, optimizer, range(STEPS + 2))
        assert len(calls) == STEPS + 2
        results.append(state(net, optimizer))
    assert same(*results)


def test_an_export_under_way_is_the_sparse_network_under_its_own_names():
    """'The exported graph carries mask operations': exported while judged, it is the plain graph with sparse weights."""
    net, optimizer, method = build(MOVING)
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method) as run:
        warnings.simplefilter("ignore")
        train(net, optimizer, range(3))
        with run.judged():
            exported = copy.deepcopy(torch.export.export(net.eval(), (batch(0)[0],)))
        with torch.no_grad():
            expected = net(batch(0)[0])
    plain = torch.export.export(Net().eval(), (batch(0)[0],))
    operations = [[node.target for node in e.graph.nodes if node.op == "call_function"] for e in (exported, plain)]
    assert operations[0] == operations[1]
    assert list(exported.state_dict) == list(plain.state_dict)
    assert zeros_outside(exported.state_dict, method.target)
    assert torch.equal(exported.module()(batch(0)[0]), expected)


# -- momentum and weight decay revive what was pruned -------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_was_pruned_stays_zero_whatever_the_optimizer_remembers(name):
    """'Momentum and weight decay bring pruned weights back': exact zeros, state included, many steps later."""
    net, optimizer, method = build("one-shot", name)
    train(net, optimizer, range(8))  # dense: every weight has momentum when it is cut
    method = lehr.Gradual(lehr.select(net, 0.9, scope="layer"), steps=4, reselect_every=1)
    with lehr.attach(net, optimizer, method) as run:
        train(net, optimizer, range(8, 60))
        assert run.finished
        for weight, keep in ((net.get_parameter(key), keep) for key, keep in method.target.items()):
            assert (weight[~keep] == 0).all()
            assert int((weight != 0).sum()) == int(keep.sum())
            held = [value for value in optimizer.state[weight].values() if value.shape == weight.shape]
            assert held
            assert all((value[~keep] == 0).all() for value in held)


# -- processes disagree on masks ----------------------------------------------------------------------------


def worker(rank: int, folder: str) -> None:
    """One of two processes whose global generators differ; notes the target after every step."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    notes: dict[str, list[str]] = {}
    for score in ("magnitude", "random"):
        for kind in ("moving", "gradual"):
            torch.manual_seed(rank)  # other initial weights, other dropout
            net = Net()
            called = nn.parallel.DistributedDataParallel(net)  # gives every process those of the first
            optimizer = torch.optim.SGD(called.parameters(), lr=0.05, momentum=0.9)
            mask = lehr.select(net, 0.9, scope="layer", score=score)
            method = lehr.Gradual(mask, steps=STEPS, reselect_every=1)
            if kind == "moving":
                method = lehr.TemperatureAnnealing(mask, steps=STEPS, target="moving", reselect_every=1)
            seen = notes[f"{score}, {kind}"] = [mask.digest]
            with lehr.attach(called, optimizer, method) as run:
                for step in range(STEPS + 2):
                    optimizer.zero_grad()
                    x, y = (part[rank * 8 : rank * 8 + 8] for part in batch(step))
                    loss = nn.functional.cross_entropy(called(x), y)
                    drawn = Mask({slot.name: slot.factor.bool() for slot in run.slots})
                    loss.backward()
                    optimizer.step()
                    seen += [drawn.digest, run.target.digest]
            seen.append(Mask.from_zeros(net).digest)
    (Path(folder) / f"rank{rank}.json").write_text(json.dumps(notes))
    dist.barrier()
    dist.destroy_process_group()


def test_processes_with_other_seeds_agree_on_every_mask(tmp_path):
    """'Every rank pruned different weights': draws and targets are equal at each step, whatever the global seeds."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert len(first) == 4
    assert first == second
    for row in first.values():
        assert len(set(row)) > 3, "the masks do change on the way"


# -- an already sparse network cannot be pruned further -----------------------------------------------------


def already_sparse(sparsity: float = 0.5) -> tuple[Net, Mask]:
    """A network cut without a record of its mask, as one that comes from elsewhere."""
    torch.manual_seed(0)
    net = Net()
    return net, lehr.select(net, sparsity, scope="layer").apply_(net)


def test_the_mask_of_a_sparse_network_is_read_from_its_zeros():
    """'It does not know that my network is sparse': asked to, it reads the zeros, to the exact count."""
    net, cut = already_sparse()
    mask = Mask.from_zeros(net)
    assert mask == cut
    assert (mask.kept, mask.sparsity) == (150, 0.5)


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_pruning_goes_on_from_fifty_to_ninety_percent_of_all_weights(scope):
    """'90 % of the rest, or of all?': of all; nothing that was out is chosen, and steps add up to the direct choice."""
    net, former = already_sparse()
    net.head.weight.data.mul_(2.0)  # so that a ranking over both layers empties neither
    mask = lehr.select(net, 0.9, scope=scope, within=former)
    assert mask.kept == 30
    assert (mask - former).kept == 0
    halfway = lehr.select(net, 0.8, scope=scope, within=former)
    assert halfway.kept == 60
    assert lehr.select(net, 0.9, scope=scope, within=halfway) == mask


FURTHER = {
    "one-shot": lambda mask, former: lehr.OneShot(mask, within=former),
    "gradual, fixed": lambda mask, former: lehr.Gradual(mask, steps=30, target="fixed", within=former),
    "gradual": lambda mask, former: lehr.Gradual(mask, steps=30, within=former),
    "temperature-annealing": lambda mask, former: lehr.TemperatureAnnealing(mask, steps=30, within=former),
    "temperature-annealing, moving": lambda mask, former: lehr.TemperatureAnnealing(
        mask, steps=30, target="moving", within=former
    ),
}


@pytest.mark.parametrize("way", FURTHER)
def test_tuning_an_already_sparse_network_further_revives_nothing(way):
    """'Pruning again revived what was pruned': with a mask chosen within the former one, what was out ends out."""
    net, former = already_sparse()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    mask = lehr.select(net, 0.9, scope="layer", within=Mask.from_zeros(net))
    method = FURTHER[way](mask, Mask.from_zeros(net))
    with lehr.attach(net, optimizer, method):
        train(net, optimizer, range(34))
    assert method.target.kept == Mask.from_zeros(net).kept == 30
    assert (Mask.from_zeros(net) - former).kept == 0


# -- a reset to earlier weights silently does nothing; sparsity is counted twice ----------------------------


class Tied(nn.Module):
    """Two layers that share a weight of 8 x 8, with a head of 10 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 10)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(x.mean(1).mean(1)).relu()).relu())


def test_a_shared_weight_is_counted_once_in_masks():
    """'Sparsity is counted twice for tied weights': in masks and their tables they are one parameter."""
    net = Tied()
    assert [row.name for row in lehr.select(net, 0.5).layers()] == ["first.weight", "head.weight"]
    mask = lehr.prune(net, 0.5)
    assert (mask.size, mask.kept) == (144, 72)
    assert Mask.from_zeros(net) == mask
    assert sum(int((p != 0).sum()) for p in net.parameters() if p.ndim == 2) == 72


def test_a_shared_weight_is_counted_once_in_runs_and_tables(tmp_path):
    """'The table says more weights than the network has': result, mask table and file agree for a tied network."""
    source = tmp_path / "tied.py"
    source.write_text(
        "from torch import nn\n"
        "class Tied(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)\n"
        "        self.second.weight = self.first.weight\n"
        "    def forward(self, x):\n"
        "        return self.head(self.second(self.first(x.flatten(1)).relu()).relu())\n"
    )
    settings = TrainSettings(data="digits", model=f"{source}:Tied", epochs=1, batch_size=64, threads=1)
    parameters = 64 * 64 + 2 * 64 + 650
    result = train_recipe(settings, tmp_path / "dense")
    assert result["parameters"] == result["nonzeros"] == parameters
    result = tuned(tmp_path / "dense", tmp_path / "small", method="temperature-annealing", sparsity=0.5)
    assert (result["parameters"], result["weights"], result["kept"]) == (parameters, 4096 + 640, 2368)
    assert result["nonzeros"] <= 2368 + 2 * 64 + 10
    mask = Mask.load(tmp_path / "small" / "mask.safetensors")
    assert [(row.name, row.size) for row in mask.layers()] == [("first.weight", 4096), ("head.weight", 640)]
    tensors = load_file(tmp_path / "small" / "model.safetensors")
    assert torch.equal(tensors["first.weight"], tensors["second.weight"]), "the file has it under both names"
    assert zeros_outside(tensors, mask)


def rewound(snapshot: dict[str, torch.Tensor], mask: Mask) -> dict[str, torch.Tensor]:
    """``snapshot * mask`` by hand, with +0 outside."""
    return {
        name: torch.where(mask[name], tensor, torch.zeros(())) if name in mask else tensor
        for name, tensor in snapshot.items()
    }


def bits(tensors: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def test_rewinding_by_hand_gives_the_snapshot_under_the_mask():
    """'The lottery ticket reset did nothing': load the early weights, apply the mask, and that is what is there."""
    net, optimizer, method = build("gradual")
    train(net, optimizer, range(2))
    snapshot = values_of(net)
    with lehr.attach(net, optimizer, method):
        train(net, optimizer, range(STEPS + 2))
    mask = method.target
    net.load_state_dict(snapshot)
    mask.apply_(net)
    assert bits(values_of(net)) == bits(rewound(snapshot, mask))


@pytest.mark.parametrize("row", ["one-shot", "gradual", MOVING])
def test_rewinding_inside_a_finished_attachment_holds_and_trains_on(row):
    """'The reset was undone by the next step': inside a finished attachment it stays and is trained from there."""
    net, optimizer, method = build(row)
    snapshot = values_of(net)
    with lehr.attach(net, optimizer, method) as run:
        train(net, optimizer, range(STEPS + 1))
        assert run.finished
        net.load_state_dict(snapshot)
        run.target.apply_(net)
        assert bits(values_of(net)) == bits(rewound(snapshot, run.target))
        x, y = batch(0)
        optimizer.zero_grad()
        net.drop.p = 0.0
        inside = nn.functional.cross_entropy(net(x), y)
        twin = Net()
        twin.load_state_dict(rewound(snapshot, run.target))
        twin.drop.p = 0.0
        outside = nn.functional.cross_entropy(twin(x), y)
        assert torch.equal(inside, outside), "the loss is that of the early weights under the mask"
        inside.backward()
        optimizer.step()
        assert zeros_outside(net.state_dict(), run.target)
        assert not torch.equal(net.head.weight, twin.head.weight)


def test_rewinding_while_annealing_starts_from_the_early_weights():
    """'Weights loaded between steps were overwritten': before the end, too, the next step starts from them."""
    net, optimizer, method = build("temperature-annealing")
    snapshot = values_of(net)
    with warnings.catch_warnings(), lehr.attach(net, optimizer, method):
        warnings.simplefilter("ignore")
        train(net, optimizer, range(2))
        net.load_state_dict(snapshot)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        train(net, optimizer, range(2, 3))
        assert bits({n: p.detach() for n, p in net.named_parameters()}) == bits(
            {name: snapshot[name] for name, _ in net.named_parameters()}
        )
