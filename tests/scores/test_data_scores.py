"""Scores that look at data: signs and sizes by finite differences, conservation, and nothing is touched."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lehr
from lehr import LehrError
from lehr.scores import grasp, scores, snip, synflow

Weights = dict[str, torch.Tensor]


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def batches(count: int = 2, size: int = 6, shape: tuple[int, ...] = (5,)) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, *shape, generator=generator).double(), torch.randint(0, 3, (size,), generator=generator))
        for _ in range(count)
    ]


def weights_of(model: nn.Module) -> Weights:
    return {name: p.detach().clone() for name, p in model.named_parameters() if name.endswith("weight")}


def loss_at(model: nn.Module, weights: Weights, data, temperature: float = 1.0) -> torch.Tensor:
    outputs = [torch.func.functional_call(model, weights, (x,)) / temperature for x, _ in data]
    return sum(F.cross_entropy(y, t) for y, (_, t) in zip(outputs, data, strict=True)) / len(data)


def flow_at(model: nn.Module, weights: Weights, data, temperature: float) -> float:
    """The squared norm of the gradient in the judged weights."""
    own = {name: w.clone().requires_grad_() for name, w in weights.items()}
    found = torch.autograd.grad(loss_at(model, own, data, temperature), list(own.values()))
    return float(sum((g**2).sum() for g in found))


def moved(weights: Weights, name: str, place: int, by: float) -> Weights:
    result = {key: w.clone() for key, w in weights.items()}
    result[name].view(-1)[place] += by
    return result


def test_snip_is_what_taking_a_weight_out_does_to_the_loss():
    model, data = network(), batches()
    weights = weights_of(model)
    found = snip(model, weights, 0, data)
    for name, weight in weights.items():
        for place in range(0, weight.numel(), 3):
            w = float(weight.view(-1)[place])
            ends = [loss_at(model, moved(weights, name, place, sign * 1e-5 * w), data).item() for sign in (1, -1)]
            assert float(found[name].view(-1)[place]) == pytest.approx(
                abs(ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-10
            )


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_grasp_keeps_what_carries_the_flow_of_gradients(temperature):
    model, data = network(), batches()
    weights = weights_of(model)
    found = grasp(model, weights, 0, data, temperature=temperature)
    signs = set()
    for name, weight in weights.items():
        for place in range(0, weight.numel(), 3):
            w = float(weight.view(-1)[place])
            ends = [flow_at(model, moved(weights, name, place, sign * 1e-5), data, temperature) for sign in (1, -1)]
            wanted = w * (ends[0] - ends[1]) / 2e-5 / 2  # d(g'g)/dw = 2 Hg
            assert float(found[name].view(-1)[place]) == pytest.approx(wanted, rel=1e-4, abs=1e-10)
            signs.add(wanted > 0)
    assert signs == {True, False}, "no absolute value is taken"


def test_grasp_leaves_more_flow_than_the_opposite_choice():
    model, data = network(), batches()
    weights = weights_of(model)
    found = grasp(model, weights, 0, data, temperature=1.0)
    kept = lehr.select(model, 0.2, score=found, scope="layer")
    other = lehr.select(model, 0.2, score={name: -s for name, s in found.items()}, scope="layer")
    flows = [flow_at(model, {n: w * mask[n] for n, w in weights.items()}, data, 1.0) for mask in (kept, other)]
    assert flows[0] > flows[1]


@pytest.mark.parametrize("score", [snip, grasp])
def test_batches_are_one_batch_in_parts(score):
    model, data = network(), batches(3)
    whole = [(torch.cat([x for x, _ in data]), torch.cat([t for _, t in data]))]
    weights = weights_of(model)
    first, second = score(model, weights, 0, data), score(model, weights, 0, whole)
    assert all(torch.allclose(first[name], second[name], rtol=1e-10) for name in weights)


@pytest.mark.parametrize("score", [snip, grasp, synflow])
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_touched(score, training):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).double()
    model.train(training)
    model[1].eval()
    before, flags = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    state = torch.random.get_rng_state()
    score(model, weights_of(model), 0, batches(shape=(2, 6, 6)))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [m.training for m in model.modules()] == flags
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_mode_of_batch_norm_is_a_choice():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).double()
    weights, data = weights_of(model), batches()
    batch, running = (snip(model, weights, 0, data, batch_norm=mode) for mode in ("batch", "running"))
    assert not torch.allclose(batch["0.weight"], running["0.weight"])
    alone = nn.Sequential(nn.Linear(5, 6), nn.Identity(), nn.ReLU(), nn.Linear(6, 3)).double()
    alone.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("1.")})
    fresh = snip(alone, {n: w for n, w in weights.items() if n != "1.weight"}, 0, data)
    assert torch.allclose(running["3.weight"], fresh["3.weight"], rtol=1e-4), "fresh running statistics change nothing"


def test_synflow_is_conserved_through_a_chain():
    """What flows into a neuron flows out of it, and every layer's scores sum to the same."""
    torch.manual_seed(0)
    chain = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False), nn.ReLU(), nn.Conv2d(3, 4, 3, stride=2, bias=False), nn.ReLU(), nn.Flatten(),
        nn.Linear(16, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False),
    )  # fmt: skip
    found = synflow(chain, weights_of(chain), 0, [(torch.randn(4, 2, 7, 7), torch.zeros(4))])
    sums = [float(flow.sum()) for flow in found.values()]
    assert all(value == pytest.approx(sums[0], rel=1e-9) for value in sums)
    assert torch.allclose(found["5.weight"].sum(1), found["7.weight"].sum(0), rtol=1e-9), "by neuron"
    assert torch.allclose(found["0.weight"].sum((1, 2, 3)), found["2.weight"].sum((0, 2, 3)), rtol=1e-9), "by channel"
    with torch.no_grad():
        positive = copy.deepcopy(chain).double()
        for p in positive.parameters():
            p.abs_()
        assert sums[0] == pytest.approx(float(positive(torch.ones(1, 2, 7, 7).double()).sum()), rel=1e-9)


def test_synflow_takes_the_absolute_value_of_everything():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    with torch.no_grad():
        model[1].running_mean.uniform_(0.1, 1)
        for p in model.parameters():
            p.abs_()
    data = [(torch.zeros(1, 2, 6, 6), torch.zeros(1))]
    wanted = synflow(model, weights_of(model), 0, data)
    with torch.no_grad():
        for tensor in [*model.parameters(), model[1].running_mean]:
            tensor.neg_()
    found = synflow(model, weights_of(model), 0, data)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_synflow_looks_at_no_number_of_the_data():
    model = network()
    first = synflow(model, weights_of(model), 0, batches())
    second = synflow(model, weights_of(model), 0, [(torch.full((1, 5), float("nan")), torch.zeros(1))])
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_in_rounds_synflow_leaves_no_layer_empty():
    torch.manual_seed(0)
    widths = [30, 200, 30, 200, 30, 5]
    layers = [nn.Linear(a, b, bias=False) for a, b in pairwise(widths)]
    model = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
    data = [(torch.zeros(1, 30), torch.zeros(1))]
    for magnitude in (0.001, 1.0):  # one layer far below the others
        with torch.no_grad():
            layers[2].weight.mul_(magnitude)
        mask = lehr.select(model, 0.995, score="synflow", data=data)
        assert min(row.kept for row in mask.layers()) > 0
        assert mask.kept == round(0.005 * mask.size)
    once = lehr.select(model, 0.995, score="synflow", data=data, rounds=1, allow_empty_layers=True)
    assert once != mask


def test_rounds_are_masks_within_masks():
    """Iterative SNIP is SNIP on what is left, by hand."""
    model, data = network(), batches()
    found = lehr.select(model, 0.75, score="snip", data=data, rounds=2)
    half = lehr.select(model, 0.5, score="snip", data=data)
    own = copy.deepcopy(model)
    half.apply_(own)
    assert found == lehr.select(own, 0.75, score="snip", data=data, within=half)
    assert (found & half) == found
    assert found == lehr.select(model, 0.75, score="snip", data=iter(data), rounds=2)


def test_exact_zeros_are_chosen_at_random_where_there_are_too_few_others():
    model, data = network(), batches()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("weight"):
                p.view(-1)[::2] = 0
    masks = [lehr.select(model, 0.3, score="snip", data=data, seed=seed) for seed in (0, 0, 1)]
    size = masks[0].size
    assert masks[0] == masks[1]
    assert masks[0] != masks[2], "which of the zeros: by seed"
    for mask in masks:
        assert mask.kept == size - round(0.3 * size)
        for name, p in model.named_parameters():
            if name in mask:
                assert bool(mask[name][p != 0].all()), "all others are kept"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "snip"}, "snip looks at data and there is none: give data="),
        ({"score": scores["grasp"]}, "this score looks at data"),
        ({"score": "magnitude", "data": []}, "magnitude does not look at data"),
        ({"score": "snip", "data": []}, "data is empty"),
        ({"score": "snip", "data": [torch.zeros(3, 5)]}, r"give batches of \(inputs, targets\)"),
        (
            {"score": "snip", "data": [(torch.zeros(3, 4).double(), torch.zeros(3).long())]},
            "cannot be judged on a batch",
        ),
        (
            {"score": "snip", "data": [(torch.zeros(3, 5).double(), torch.zeros(4).long())]},
            "cannot be judged on a batch",
        ),
        ({"score": "snip", "data": batches(), "rounds": 0}, "rounds is 0"),
        (
            {"score": "snip", "data": batches(), "rounds": 2, "granularity": "1:5", "sparsity": None},
            "1:5 does not change",
        ),
        ({"score": "sniip", "data": batches()}, "did you mean 'snip'"),
    ],
)
def test_what_cannot_be_is_one_sentence(options, message):
    with pytest.raises(LehrError, match=message):
        lehr.select(network(), **{"sparsity": 0.5, **options})


def test_a_network_that_overflows_is_told():
    deep = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(12)))
    with torch.no_grad():
        for p in deep.parameters():
            p.fill_(1e30)
    with pytest.raises(LehrError, match="overflows fp64"):
        synflow(deep, weights_of(deep), 0, [(torch.zeros(1, 4), torch.zeros(1))])


def test_a_function_of_the_users_sees_the_data():
    seen = []

    def mine(model, parameters, seed, batches):
        seen.append(len(batches))
        return {name: w.abs() for name, w in parameters.items()}

    assert lehr.select(network(), 0.5, score=mine, data=batches(3)) == lehr.select(network(), 0.5)
    assert seen == [3]


@pytest.mark.parametrize("score", [snip, grasp])
def test_nothing_is_dropped_at_random(score):
    model = nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5), nn.Linear(7, 3)).double()
    before = torch.get_rng_state()
    first, second = (score(model, weights_of(model), 0, batches()) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_networks_that_attend_have_a_score():
    model = lehr.models.create("text_encoder", num_classes=2, vocabulary=20, context=6)
    batch = (torch.randint(0, 20, (4, 6)), torch.tensor([0, 1, 0, 1]))
    found = grasp(model, weights_of(model), 0, [batch])
    assert all(score.isfinite().all() for score in found.values())
    with pytest.raises(LehrError, match="the network takes tokens, and SynFlow asks it for an input of ones"):
        synflow(model, weights_of(model), 0, [batch])
