"""Two gloo processes give the masks that one gives: DDP, and FSDP2 on shards."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

import lehr
from tests.sparsify.contract import ROWS, STEPS, batch

TABLE = sorted(ROWS)


class Plain(nn.Module):
    """No batch-norm and no dropout, so that two half batches give the gradient of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 3)  # five rows: the shards differ in size
        self.head = nn.Linear(80, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().flatten(1))


def run(
    row: str, wrap, rank: int, world: int, accumulate: int = 1, own_draws: bool = False
) -> tuple[str, dict[str, torch.Tensor], list]:
    torch.manual_seed(0)
    net = Plain()
    mask = lehr.select(net, 0.9, scope="layer")
    method = ROWS[row](mask)
    called = wrap(net)
    optimizer = torch.optim.SGD(called.parameters(), lr=0.05, momentum=0.9)
    draws = []
    with lehr.attach(called, optimizer, method, rank=rank if own_draws else None) as attached:
        for step in range(STEPS + 2):
            optimizer.zero_grad()
            for turn in range(accumulate):
                x, y = batch(10 * step + turn)
                share = len(x) // world
                x, y = x[rank * share : (rank + 1) * share], y[rank * share : (rank + 1) * share]
                loss = nn.functional.cross_entropy(called(x), y) / accumulate
                draws.append([slot.factor.clone() for slot in attached.slots])
                loss.backward()
            optimizer.step()
    full = {n: p.full_tensor() if hasattr(p, "full_tensor") else p.detach() for n, p in net.named_parameters()}
    return method.target.digest, {n: p.detach().clone() for n, p in full.items()}, draws


def ddp(net: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(net)


def fsdp(net: nn.Module) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for layer in (net.conv, net.head):
        fully_shard(layer, mesh=mesh)
    fully_shard(net, mesh=mesh)
    return net


def stale_gradients(rank: int, to_none: bool) -> list[int]:
    """How many weights that are out have a gradient, step by step."""
    torch.manual_seed(0)
    mask = lehr.select(Plain(), 0.9, scope="layer")
    net = fsdp(Plain())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    method = lehr.TemperatureAnnealing(mask, tau=0.2, steps=50)
    counts = []
    with lehr.attach(net, optimizer, method) as attached:
        for step in range(3):
            optimizer.zero_grad(set_to_none=to_none)
            x, y = batch(step)
            nn.functional.cross_entropy(net(x), y).backward()
            counts.append(sum(int((s.parameter.grad.to_local()[s.takes_part == 0] != 0).sum()) for s in attached.slots))
            optimizer.step()
    return counts


def applied_to_shards() -> int:
    """Mask.apply_ on a sharded network: how many weights are left beyond those kept."""
    torch.manual_seed(0)
    net = Plain()
    mask = lehr.select(net, 0.9, scope="layer")
    mask.apply_(fsdp(net))
    return sum(int((net.get_parameter(name).full_tensor() != 0).sum()) for name in mask) - mask.kept


def worker(rank: int, folder: str) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results = {}
    for row in TABLE:
        for kind, wrap in (("ddp", ddp), ("fsdp", fsdp)):
            results[row, kind] = run(row, wrap, rank, 2)
    results["gradual", "accumulated"] = run("gradual", fsdp, rank, 2, accumulate=2)
    results["temperature-annealing", "accumulated"] = run("temperature-annealing", fsdp, rank, 2, accumulate=2)
    for zero_to_none in (True, False):
        results["zeroed", zero_to_none] = stale_gradients(rank, zero_to_none)
    for row in ("temperature-annealing, all weights", "temperature-annealing, moving"):
        results[row, "differing"] = run(row, ddp, rank, 2, own_draws=True)
    results["applied"] = applied_to_shards()
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(worker, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
@pytest.mark.parametrize("row", TABLE)
def test_two_processes_agree_with_one(ranks, row, kind):
    single_digest, single, single_draws = run(row, lambda net: net, 0, 1)
    (digest, weights, draws), (other_digest, other, other_draws) = (rank[row, kind] for rank in ranks)
    assert digest == other_digest == single_digest, "the same target on every rank, and as in one process"
    for name in weights:
        assert torch.equal(weights[name], other[name]), f"the ranks differ in {name}"
        assert torch.allclose(weights[name], single[name], atol=1e-5), f"{name} is not what one process gives"
    for one, a, b in zip(single_draws, draws, other_draws, strict=True):
        for whole, first, second in zip(one, a, b, strict=True):
            joined = torch.cat([first, second]) if kind == "fsdp" else first
            assert torch.equal(joined, whole), "each shard draws what the whole would"
            if kind == "ddp":
                assert torch.equal(second, whole)


@pytest.mark.parametrize("row", ["gradual", "temperature-annealing"])
def test_gradients_accumulated_on_shards_keep_their_own_masks(ranks, row):
    _, single, _ = run(row, lambda net: net, 0, 1, accumulate=2)
    for rank in ranks:
        for name, weight in rank[row, "accumulated"][1].items():
            assert torch.allclose(weight, single[name], atol=1e-5)


@pytest.mark.parametrize("to_none", [True, False])
def test_zeroed_gradients_of_shards_leave_nothing_behind(ranks, to_none):
    assert [rank["zeroed", to_none] for rank in ranks] == [[0, 0, 0]] * 2


@pytest.mark.parametrize("row", ["temperature-annealing, all weights", "temperature-annealing, moving"])
def test_ranks_that_draw_apart_stay_one_network(ranks, row):
    (digest, weights, draws), (other_digest, other, other_draws) = (rank[row, "differing"] for rank in ranks)
    assert not torch.equal(draws[0][1], other_draws[0][1])
    assert digest == other_digest
    assert all(torch.equal(weights[name], other[name]) for name in weights)


def test_a_mask_applies_to_shards(ranks):
    assert [rank["applied"] for rank in ranks] == [0, 0]
