"""Every method of the library keeps every contract."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

import lehr
from lehr.masks import Mask
from lehr.runs import Checkpoint, load_checkpoint, save_checkpoint
from lehr.sparsify.method import methods
from tests.sparsify.contract import OPTIMIZERS, ROWS, STEPS, Net, batch, build, same, state, train

rows = pytest.mark.parametrize("row", ROWS)


def test_every_registered_method_is_in_the_table():
    assert {row.partition(",")[0] for row in ROWS} == set(methods)


@rows
def test_trains(row):
    net, optimizer, method = build(row)
    with lehr.attach(net, optimizer, method):
        losses = train(net, optimizer, range(60))
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


@rows
@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
def test_exact_count_and_no_revival(row, optimizer_name):
    net, optimizer, method = build(row, optimizer_name)
    with lehr.attach(net, optimizer, method) as run:
        train(net, optimizer, range(STEPS))
        assert run.finished
        for step in range(STEPS, STEPS + 8):
            for name, keep in run.target.items():
                parameter = net.get_parameter(name)
                assert (parameter[~keep] == 0).all()
                assert not parameter[~keep].signbit().any(), "zeros are +0, so that equal networks are equal files"
                for value in optimizer.state[parameter].values():
                    if value.shape == parameter.shape:
                        assert (value[~keep] == 0).all()
            train(net, optimizer, range(step, step + 1))
    kept = method.initial.kept
    assert method.target.kept == kept
    assert method.target.granularities == method.initial.granularities
    assert sum(int((net.get_parameter(name) != 0).sum()) for name in method.target) == kept
    # Outside the block the network is an ordinary one: nothing is left to strip.
    assert type(net) is Net
    assert list(net.state_dict()) == list(Net().state_dict())
    assert not net._forward_pre_hooks
    assert "_compiled_call_impl" not in net.__dict__


@rows
@pytest.mark.parametrize("optimizer_name", ["nesterov", "adamw"])
@pytest.mark.parametrize("cut", [0, 1, 3, STEPS, STEPS + 2])
def test_resume_gives_the_same_bits(row, optimizer_name, cut, tmp_path):
    end = STEPS + 4
    net, optimizer, method = build(row, optimizer_name)
    torch.manual_seed(7)
    with lehr.attach(net, optimizer, method):
        train(net, optimizer, range(end))
    whole = state(net, optimizer)

    net, optimizer, method = build(row, optimizer_name)
    torch.manual_seed(7)
    path = tmp_path / "checkpoint.safetensors"
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(7)
        patch.setattr("warnings.warn", lambda *a, **k: None)  # it says that annealing is not over
        with lehr.attach(net, optimizer, method) as run:
            train(net, optimizer, range(cut))
            checkpoint = Checkpoint(
                settings="s",
                position={},
                model=net.state_dict(),
                optimizer=optimizer.state_dict()["state"],
                random=torch.get_rng_state(),
                attachment=run.state_dict(),
            )
            save_checkpoint(path, checkpoint)

    loaded = load_checkpoint(path, "s")
    net, optimizer, method = build(row, optimizer_name, seed=99)  # another initialisation: all must come from the file
    original = build(row, optimizer_name)[2]
    method = type(original).__new__(type(original))
    method.__dict__.update(original.__dict__)
    with lehr.attach(net, optimizer, method) as run:
        net.load_state_dict(loaded.model)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": dict(loaded.optimizer), "param_groups": groups})
        run.load_state_dict(loaded.attachment)
        torch.set_rng_state(loaded.random)
        train(net, optimizer, range(cut, end))
    assert same(state(net, optimizer), whole)


@rows
def test_two_runs_give_the_same_bits_and_another_seed_does_not_for_a_stochastic_one(row):
    results = []
    for _ in range(2):
        net, optimizer, method = build(row)
        torch.manual_seed(3)
        with lehr.attach(net, optimizer, method):
            train(net, optimizer, range(STEPS + 2))
        results.append(state(net, optimizer))
    assert same(*results)


@rows
def test_deepcopy_and_pickle_are_those_of_a_plain_network(row):
    net, optimizer, method = build(row)
    with lehr.attach(net, optimizer, method):
        train(net, optimizer, range(2))
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert same({**net.state_dict()}, {**other.state_dict()})
            before = copy.deepcopy(other.state_dict())
            other(batch(0)[0]).sum().backward()
            assert torch.equal(other.head.weight, before["head.weight"])
        buffer = io.BytesIO()
        torch.save(optimizer.state_dict(), buffer)
        train(net, optimizer, range(2, STEPS))


@rows
def test_compiled_gives_the_eager_bits_without_recompiling(row):
    results = []
    compilations = []

    def backend(graph, _):
        compilations.append(graph)
        return graph.forward

    for compiled in (False, True):
        torch._dynamo.reset()
        net, optimizer, method = build(row)
        torch.manual_seed(3)
        if compiled:
            net.compile(backend=backend, fullgraph=True)
        with lehr.attach(net, optimizer, method):
            train(net, optimizer, range(STEPS + 3))
        results.append(state(net, optimizer))
    assert same(*results)
    assert len(compilations) == 1


@rows
def test_saved_files_hold_the_sparse_network(row, tmp_path):
    net, optimizer, method = build(row)
    with lehr.attach(net, optimizer, method) as run:
        train(net, optimizer, range(STEPS + 1))
        with run.judged() as judged:
            tensors = {k: v.clone() for k, v in judged.state_dict().items()}
        run.target.save(tmp_path / "mask.safetensors")
    mask = Mask.load(tmp_path / "mask.safetensors")
    assert mask == method.target
    other = Net()
    other.load_state_dict(tensors)
    assert all((other.get_parameter(name)[~keep] == 0).all() for name, keep in mask.items())
    net.eval(), other.eval()
    with torch.no_grad():
        assert torch.equal(net(batch(0)[0]), other(batch(0)[0]))


@rows
def test_judged_under_way_is_exactly_the_target(row):
    net, optimizer, method = build(row)
    with lehr.attach(net, optimizer, method) as run:
        for step in range(STEPS):
            train(net, optimizer, range(step, step + 1))
            with run.judged():
                nonzero = sum(int((net.get_parameter(name) != 0).sum()) for name in run.target)
                assert nonzero <= run.target.kept
                assert all((net.get_parameter(name)[~keep] == 0).all() for name, keep in run.target.items())
