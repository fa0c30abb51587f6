import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lehr import LehrError, Mask, prune, select
from lehr.base.draws import Purpose, Stream
from lehr.masks import target_parameters
from lehr.masks.budget import erk, largest_remainder, total_kept
from lehr.masks.topk import top_k


def linear(values) -> nn.Linear:
    rows = torch.tensor(values, dtype=torch.float32)
    layer = nn.Linear(rows.shape[1], rows.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(rows)
    return layer


def test_magnitude_by_hand():
    layer = linear([[0.1, -3.0, 0.0, 2.0]])
    before = layer.weight.clone()
    assert select(layer, 0.5)["weight"].tolist() == [[False, True, False, True]]
    assert torch.equal(layer.weight, before), "the model is untouched"
    prune(layer, 0.5)
    assert layer.weight.tolist() == [[0.0, -3.0, 0.0, 2.0]]


def test_global_ranks_together_and_layer_apart():
    net = nn.Sequential(linear([[1.0, 2.0, 3.0, 4.0]]), linear([[10.0], [20.0], [30.0], [40.0]]))
    with pytest.raises(LehrError, match=r"sparsity 0.5 leaves no weight in 0.weight: lower it, use scope='layer'"):
        select(net, 0.5)
    assert select(net, 0.5, allow_empty_layers=True).layer_counts() == {"0.weight": 0, "1.weight": 4}
    assert select(net, 0.5, scope="layer").layer_counts() == {"0.weight": 2, "1.weight": 2}


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    sparsity=st.floats(0, 0.999),
    scope=st.sampled_from(["global", "layer"]),
    distribution=st.sampled_from(["uniform", "erk"]),
    score=st.sampled_from(["magnitude", "random"]),
    ties=st.booleans(),
)
def test_the_count_is_exact_whatever_is_asked(sizes, sparsity, scope, distribution, score, ties):
    net = nn.Sequential(*(nn.Linear(n, 3, bias=False) for n in sizes))
    if ties:
        for p in net.parameters():
            nn.init.constant_(p, 0.5)
    n = 3 * sum(sizes)
    options = {"scope": scope, "distribution": distribution if scope == "layer" else "uniform", "score": score}
    mask = select(net, sparsity, allow_empty_layers=True, **options)
    assert mask.kept == math.floor(n - sparsity * n + 0.5 + 1e-9)
    assert mask == select(net, sparsity, allow_empty_layers=True, **options)


def test_ties_are_broken_by_the_seed_and_never_by_a_threshold():
    layer = linear([[1.0] * 100])
    masks = [select(layer, 0.7, seed=seed) for seed in range(5)]
    assert {m.kept for m in masks} == {30}
    assert len(set(masks)) == 5
    # Not the first ones: a prefix would prefer the first filters of a network.
    assert all(m["weight"][0, :30].sum() < 25 for m in masks)


def test_a_score_of_zero_is_not_already_pruned():
    layer = linear([[0.0, 0.0, 1.0, 0.0]])
    assert select(layer, 0.25).kept == 3
    assert select(layer, 0.0)["weight"].all()


def test_within_limits_the_choice():
    layer = linear([[4.0, 3.0, 2.0, 1.0]])
    former = Mask({"weight": torch.tensor([[False, True, True, True]])})
    assert select(layer, 0.5, within=former)["weight"].tolist() == [[False, True, True, False]]
    assert select(layer, 0.25, within=former) == former
    with pytest.raises(LehrError, match="keeps 4 weights and the mask given as `within` has 3"):
        select(layer, 0.0, within=former)


def test_one_weight():
    layer = linear([[2.0]])
    assert select(layer, 0.0).kept == select(layer, 0.5).kept == 1
    with pytest.raises(LehrError, match="leaves no weight in weight"):
        select(layer, 0.9)


def test_ready_scores_and_functions_serve_as_scores():
    layer = linear([[1.0, 2.0, 3.0]])
    given_scores = {"weight": torch.tensor([[9.0, 0.0, 1.0]])}
    assert select(layer, 2 / 3, score=given_scores)["weight"].tolist() == [[True, False, False]]
    small = select(layer, 2 / 3, score=lambda model, weights, seed: {n: -w.abs() for n, w in weights.items()})
    assert small["weight"].tolist() == [[True, False, False]]


def test_random_depends_on_seed_and_name_alone():
    net = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    a = select(net, 0.5, score="random", seed=1)
    torch.manual_seed(0)
    for p in net.parameters():
        nn.init.normal_(p)
    assert a == select(net, 0.5, score="random", seed=1)
    assert a != select(net, 0.5, score="random", seed=2)
    assert not torch.equal(a["0.weight"], a["1.weight"])


def test_default_targets_are_linear_and_conv_weights_the_head_included():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Embedding(4, 2), nn.Conv1d(2, 2, 1), nn.Linear(2, 2))
    assert list(target_parameters(net)) == ["0.weight", "3.weight", "4.weight"]


def test_target_patterns_are_those_of_peft():
    net = nn.ModuleDict({"enc": nn.ModuleDict({"q": nn.Linear(2, 2), "v": nn.Linear(2, 2)}), "head": nn.Linear(2, 2)})
    assert list(target_parameters(net, ["q", "head"])) == ["enc.q.weight", "head.weight"]
    assert list(target_parameters(net, r"enc\..*")) == ["enc.q.weight", "enc.v.weight"]
    assert list(target_parameters(net, exclude_modules=["head"])) == ["enc.q.weight", "enc.v.weight"]
    with pytest.raises(LehrError, match="no module 'haed': did you mean 'head'"):
        target_parameters(net, ["haed"])
    with pytest.raises(LehrError, match="not a regular expression"):
        target_parameters(net, "enc(")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, r"sparsity is 1.0: give a fraction in \[0, 1\)"),
        ({"sparsity": 90}, "sparsity is 90: .*such as 0.9 for 90 %"),
        ({"score": "magnitud"}, "no score 'magnitud': did you mean 'magnitude'"),
        ({"scope": "locl"}, "no scope 'locl'"),
        ({"distribution": "ekr"}, "no distribution 'ekr': did you mean 'erk'"),
        ({"distribution": "erk"}, "use scope='layer'"),
        ({"granularity": "2x4"}, "no granularity '2x4'"),
        ({"score": {}}, "the scores lack weight"),
        ({"score": {"weight": torch.ones(1)}}, "the score of weight has shape"),
        ({"score": {"weight": torch.full((1, 4), math.nan)}}, "the score of weight has NaN"),
        ({"within": Mask({"other": torch.tensor([True])})}, "no parameter 'other'"),
    ],
)
def test_bad_input_is_one_clear_sentence(options, message):
    with pytest.raises(LehrError, match=message):
        select(linear([[1.0, 2.0, 3.0, 4.0]]), **{"sparsity": 0.5, **options})


def test_nan_weights_and_networks_without_weights_are_refused():
    layer = linear([[math.nan, 1.0]])
    with pytest.raises(LehrError, match="weight has NaN weights"):
        select(layer, 0.5)
    with pytest.raises(LehrError, match="ReLU has no weight to prune"):
        select(nn.ReLU(), 0.5)
    with pytest.raises(LehrError, match="has no shape yet"):
        select(nn.LazyLinear(3), 0.5)


def test_erk_by_hand():
    # raw densities 20/100 = 0.2 and 200/10000 = 0.02; eps = 1010 / 220; densities 0.918 and 0.0918
    shares = erk({"a": (10, 10), "b": (100, 100)}, 0.9)
    assert shares["a"] == pytest.approx(1010 / 220 * 20)
    assert shares["b"] == pytest.approx(1010 / 220 * 200)
    # At 50 % the small layer would exceed 1: it is dense and the other takes the rest.
    shares = erk({"a": (10, 10), "b": (100, 100)}, 0.5)
    assert shares == pytest.approx({"a": 100, "b": 4950})


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6), st.floats(0, 0.999))
def test_shares_sum_to_the_total_and_stay_below_their_caps(shapes, sparsity):
    named = {str(i): shape for i, shape in enumerate(shapes)}
    caps = {name: a * b for name, (a, b) in named.items()}
    total = total_kept(sparsity, sum(caps.values()))
    shares = erk(named, sparsity)
    assert sum(shares.values()) == pytest.approx((1 - sparsity) * sum(caps.values()))
    counts = largest_remainder(shares, total, caps)
    assert sum(counts.values()) == total
    assert all(0 <= counts[n] <= caps[n] and abs(counts[n] - shares[n]) <= 1 + 1e-6 for n in named)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, -1.0, math.inf]), min_size=1, max_size=40), st.integers(0, 40))
def test_top_k_is_a_sort_with_exactly_k(values, k):
    scores = torch.tensor(values)
    kept = top_k(scores, k, Stream(0, "t", Purpose.TIE))
    assert int(kept.sum()) == min(k, len(values))
    if kept.any() and not kept.all():
        assert scores[kept].min() >= scores[~kept].max()
