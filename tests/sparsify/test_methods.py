"""Each method's path against its formula, by brute force."""

import math

import pytest
import torch

import lehr
from lehr.base.draws import Purpose, Stream
from lehr.masks import Mask
from lehr.sparsify.method import select_by_magnitude
from lehr.sparsify.shard import Shard

M = torch.tensor([[True, False, False, True, False]])
MASK = Mask({"w": M})
WHOLE = Shard("w", 0, 5, (1, 5))


def probability(method, t: int) -> torch.Tensor:
    return method.chance(t, WHOLE).probability(method.target["w"])


def p0(seed: int = 0) -> torch.Tensor:
    bits = Stream(seed, "w", Purpose.INITIAL).bits(0, 5)
    return torch.tensor([[(int(b) + 0.5) / 65536 for b in bits]])


@pytest.mark.parametrize("t", range(6))
def test_paths(t):
    u = min(1.0, t / 4)
    s = (1 + math.cos(math.pi * u)) / 2
    m = M.float()
    cases = [
        (lehr.OneShot(MASK), m),
        (lehr.RandomAnnealing(MASK, steps=4), m + (1 - m) * p0() * s),
        (lehr.RandomAnnealing(MASK, steps=4, all_weights=True), m + (p0() - m) * s),
        (lehr.TemperatureAnnealing(MASK, steps=4, tau=0.3), m + (1 - m) * 0.3 * s),
        (lehr.TemperatureAnnealing(MASK, steps=4, tau=0.3, all_weights=True), m * (1 - 0.3 * s) + (1 - m) * 0.3 * s),
    ]
    for method, expected in cases:
        assert torch.allclose(probability(method, t), expected, atol=1e-6), method
    if t >= 4:
        assert all(torch.equal(probability(method, t), m) for method, _ in cases)


def test_a_threshold_that_is_drawn():
    w = torch.tensor([[8.0, -1.0, 0.0, -4.0, 2.0]])
    method = lehr.StochasticThreshold(MASK, steps=4, tau=1.0)
    assert torch.equal(probability(method, 0), M.float()), "before the first choice it is the mask"
    method.retarget(2, {"w": w})  # density 0.4 + 0.6 / 8 = 0.475: 2 of 5 kept, so theta is 4; T = 1/2
    assert method.target["w"].tolist() == [[True, False, False, True, False]]
    expected = [[4 / 5, 1 / 17, 0.0, 1 / 2, 1 / 5]]  # (|w| / 4)^2 / (1 + (|w| / 4)^2)
    assert torch.allclose(probability(method, 2), torch.tensor(expected), atol=1e-6)
    assert torch.equal(probability(method, 4), M.float())
    with pytest.raises(lehr.LehrError, match="tau is 0, which is a threshold without noise"):
        lehr.StochasticThreshold(MASK, steps=4, tau=0.0)


def test_a_threshold_by_layer_or_over_all_layers():
    masks = {"a": torch.tensor([True, False]), "b": torch.tensor([True, False])}
    weights = {"a": torch.tensor([8.0, 4.0]), "b": torch.tensor([2.0, 1.0])}
    # Over all layers the two largest are 8 and 4; b keeps its 2 only so as not to be empty, and mirrored at theta.
    expected = {
        "global": {"a": [2 / 3, 1 / 2], "b": [2 / 3, 1 / 5]},
        "layer": {"a": [1 / 2, 1 / 3], "b": [1 / 2, 1 / 3]},
    }
    for scope, chances in expected.items():
        method = lehr.StochasticThreshold(Mask(masks), steps=2, tau=1.0, scope=scope, schedule=lambda u: float(u < 1))
        method.retarget(2, weights)  # the final density, of which each layer keeps at least one
        for name, values in chances.items():
            chance = method.chance(1, Shard(name, 0, 2, (2,))).probability(masks[name])
            assert torch.allclose(chance, torch.tensor(values))
    with pytest.raises(lehr.LehrError, match="2:4 has one for every group"):
        lehr.StochasticThreshold(Mask({"w": torch.ones(1, 4) > 0}, {"w": "2:4"}), steps=2)


def test_a_layers_temperature_goes_by_its_density():
    masks = Mask({"a": torch.arange(10) < 5, "b": torch.arange(30) < 3})  # 0.5 and 0.1, together 0.2
    method = lehr.TemperatureAnnealing(masks, steps=4, tau=0.3, by_layer=True)
    rest = [method.chance(0, Shard(name, 0, 1, (1,))).rest for name in ("a", "b")]
    assert rest == pytest.approx([0.75, 0.15])
    hot = lehr.TemperatureAnnealing(masks, steps=4, tau=1.0, by_layer=True)
    assert hot.chance(0, Shard("a", 0, 1, (1,))).rest == 1.0


def test_zero_temperature_or_zero_length_is_one_shot():
    assert torch.equal(probability(lehr.TemperatureAnnealing(MASK, steps=4, tau=0.0), 0), M.float())
    assert lehr.TemperatureAnnealing(MASK, steps=0).finished(0)


def test_random_annealing_on_the_log_density_path_has_its_expected_density():
    big = Mask({"w": torch.arange(50_000) < 1000})
    method = lehr.RandomAnnealing(big, steps=10, schedule="log-density")
    shard = Shard("w", 0, 50_000, (50_000,))
    for t in (0, 5, 9):
        expected = (0.02 + 0.98 * 0.5) ** (1 - t / 10) * 0.02 ** (t / 10)
        assert float(method.chance(t, shard).probability(big["w"]).mean()) == pytest.approx(expected, rel=0.02)


def test_a_shard_has_its_piece_of_the_initial_probabilities():
    method = lehr.RandomAnnealing(MASK, steps=4)
    chance = lehr.RandomAnnealing(MASK, steps=4).chance(0, Shard("w", 2, 3, (3,)))
    assert torch.equal(chance.rest, method.chance(0, WHOLE).rest.reshape(-1)[2:])


def test_densities_of_the_deterministic_paths():
    for method, path in ((lehr.Iterative, lambda u: 1 - u), (lehr.Gradual, lambda u: (1 - u) ** 3)):
        falling = method(MASK, steps=8)
        for t in range(10):
            assert falling.density(t) == pytest.approx(0.4 + 0.6 * path(min(1, t / 8)))


def test_reselection_by_hand():
    weights = {"w": torch.tensor([[0.1, 5.0, -4.0, 0.2, 3.0]])}
    moving = lehr.Gradual(MASK, steps=2, reselect_every=1)
    moving.retarget(0, weights)
    assert moving.target.kept == 5
    moving.retarget(1, weights)  # 0.4 + 0.6 / 8 of 5 is 2.375
    assert moving.target["w"].tolist() == [[False, True, True, False, False]]
    fixed = lehr.Iterative(MASK, steps=2, reselect_every=1, target="fixed")
    fixed.retarget(1, weights)  # 0.7 of 5 is 3.5, half up: the mask and the two best others
    assert fixed.target["w"].tolist() == [[True, True, True, True, False]]
    fixed.retarget(2, weights)
    assert fixed.target == MASK


def test_when_a_target_is_chosen_again():
    method = lehr.Gradual(MASK, steps=7, reselect_every=3)
    assert [t for t in range(12) if method.due(t)] == [0, 3, 6, 7]
    assert not any(lehr.TemperatureAnnealing(MASK, steps=7).due(t) for t in range(9))
    assert lehr.Gradual(MASK, steps=200).reselect_every == 10
    assert lehr.Gradual(MASK, steps=5).reselect_every == 1


def test_a_moving_target_empties_no_layer():
    weights = {"big": torch.full((1, 90), 10.0), "small": torch.tensor([[0.1, 0.3, 0.2]])}
    like = Mask({n: torch.ones_like(w, dtype=torch.bool) for n, w in weights.items()})
    mask = select_by_magnitude(weights, like, 5 / 93, "global", None, 0)
    assert mask.layer_counts() == {"big": 4, "small": 1}
    assert mask["small"].tolist() == [[False, True, False]]


def test_by_layer_each_keeps_its_share():
    weights = {"a": torch.rand(1, 10), "b": torch.rand(1, 10) + 5}
    like = Mask({"a": torch.arange(10)[None] < 2, "b": torch.arange(10)[None] < 6})
    final = select_by_magnitude(weights, like, like.density, "layer", None, 0)
    assert final.layer_counts() == {"a": 2, "b": 6}
    half = select_by_magnitude(weights, like, like.density + 0.3, "layer", None, 0)
    assert half.layer_counts() == {"a": 6, "b": 8}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lehr.TemperatureAnnealing(MASK, steps=4, tau=1.5), "tau is 1.5: give a fraction"),
        (lambda: lehr.TemperatureAnnealing(MASK, steps=4, tau=0.6, all_weights=True), "give at most 0.5"),
        (lambda: lehr.TemperatureAnnealing(MASK, steps=-1), "steps is -1"),
        (lambda: lehr.TemperatureAnnealing(MASK, steps=2.5), "steps is 2.5"),
        (lambda: lehr.TemperatureAnnealing(MASK, steps=4, schedule="cosin"), "did you mean 'cosine'"),
        (lambda: lehr.TemperatureAnnealing(MASK, steps=4, target="mving"), "did you mean 'moving'"),
        (lambda: lehr.TemperatureAnnealing(MASK, steps=4, realise="men"), "did you mean 'mean'"),
        (lambda: lehr.Gradual(MASK, steps=4, reselect_every=0), "reselect_every is 0"),
        (lambda: lehr.Gradual(MASK, steps=4, scope="all"), "no scope 'all'"),
        (lambda: lehr.Gradual(MASK, steps=4).load_state_dict({"method": "one-shot"}), "they must agree"),
        (
            lambda: lehr.Gradual(MASK, steps=4).load_state_dict(
                {"method": "gradual", "steps": 4, "target": Mask({"v": M}).state_dict()}
            ),
            "covers other layers",
        ),
        (lambda: select_by_magnitude({"w": torch.full((1, 5), math.nan)}, MASK, 0.4, "global", None, 0), "NaN weights"),
    ],
)
def test_bad_input_is_one_clear_sentence(make, message):
    with pytest.raises(lehr.LehrError, match=message):
        make()
