import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lehr import LehrError, Mask, TemperatureAnnealing, attach, select
from lehr.base.draws import Purpose, Stream
from lehr.masks.granules import Granules, check_granularity, granules
from lehr.sparsify.shard import Shard


def layer(values) -> nn.Linear:
    rows = torch.tensor(values, dtype=torch.float32)
    made = nn.Linear(rows.shape[1], rows.shape[0], bias=False)
    with torch.no_grad():
        made.weight.copy_(rows)
    return made


def test_two_of_four_by_hand():
    net = layer([[1.0, -9.0, 3.0, 0.0, 5.0, 6.0, 7.0, 8.0], [0.0, 0.0, 1.0, 2.0, 4.0, 3.0, 2.0, 1.0]])
    mask = select(net, granularity="2:4")
    assert mask["weight"].int().tolist() == [[0, 1, 1, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1, 0, 0]]
    assert select(net, 0.5, granularity="2:4") == mask
    assert mask.granularity == "2:4"


def test_n_of_m_in_a_convolution_goes_along_the_input_channels():
    conv = nn.Conv2d(4, 3, 2, bias=False)
    mask = select(conv, granularity="1:4")["weight"]
    assert mask.sum(1).eq(1).all(), "one of four channels at each place of each filter"


def test_filters_by_hand():
    net = layer([[1.0, 1.0], [5.0, 0.0], [2.0, 2.0], [0.1, 0.1]])
    assert select(net, 0.5, granularity="filter")["weight"].tolist() == [
        [False] * 2,
        [True] * 2,
        [True] * 2,
        [False] * 2,
    ]


def test_blocks_by_hand():
    net = layer([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 3.0], [9.0, 0.0, 0.1, 0.1], [0.0, 0.0, 0.1, 0.1]])
    kept = select(net, 0.5, granularity="block:2x2")["weight"].int().tolist()
    assert kept == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_heads_share_their_granule_over_the_projections():
    attention = nn.MultiheadAttention(6, 3, bias=False)
    with torch.no_grad():
        attention.in_proj_weight.fill_(1.0)
        attention.out_proj.weight.fill_(1.0)
        attention.out_proj.weight[:, 2:4] = 0.5  # the second head counts less
    mask = select(attention, 1 / 3, granularity="head")
    rows = mask["in_proj_weight"].reshape(3, 3, 2, 6)
    assert rows.all((0, 2, 3)).tolist() == [True, False, True]
    assert not rows[:, 1].any()
    assert mask["out_proj.weight"].all(0).tolist() == [True, True, False, False, True, True]


def test_the_last_layer_of_a_network_keeps_its_outputs():
    net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    assert list(select(net, 0.5, granularity="filter")) == ["0.weight"]
    assert list(select(net, 0.5, granularity="filter", scope="layer", target_modules=["0", "1"])) == [
        "0.weight",
        "1.weight",
    ]
    assert list(select(net, 0.5, granularity="filter", exclude_modules=["1"])) == ["0.weight"]


@given(
    rows=st.integers(1, 6),
    columns=st.integers(1, 4),
    sparsity=st.floats(0, 0.99),
    scope=st.sampled_from(["global", "layer"]),
)
def test_counts_are_exact_in_granules(rows, columns, sparsity, scope):
    net = nn.Sequential(nn.Linear(4 * columns, 4 * rows, bias=False), nn.Linear(4 * rows, 4, bias=False))
    options = {"scope": scope, "allow_empty_layers": True, "target_modules": ["0", "1"]}
    for text in ("filter", "block:4x1", "block:2x4"):
        mask = select(net, sparsity, granularity=text, **options)
        cuts = {name: mask.granules(name) for name in mask}
        folded = {name: cut.fold(mask[name].float()) / cut.size for name, cut in cuts.items()}
        assert all(set(f.tolist()) <= {0.0, 1.0} for f in folded.values()), "granules are whole"
        total = sum(cut.count for cut in cuts.values())
        assert sum(int(f.sum()) for f in folded.values()) == int(total - sparsity * total + 0.5 + 1e-9)


@given(n=st.integers(1, 5), extra=st.integers(0, 4), groups=st.integers(1, 4), seed=st.integers(0, 9))
def test_n_of_m_holds_in_every_group_also_among_ties(n, extra, groups, seed):
    m = n + extra
    net = nn.Linear(m * groups, 3, bias=False)
    nn.init.constant_(net.weight, 1.0)
    mask = select(net, granularity=f"{n}:{m}", seed=seed)["weight"]
    assert mask.reshape(3, groups, m).sum(-1).eq(n).all()


@pytest.mark.parametrize("text", ["filter", "block:2x2", "head:2:rows@g", "head:2:columns@g"])
def test_spread_and_fold_are_inverse(text):
    cut = granules(text, "w", (4, 4))
    values = torch.arange(cut.count, dtype=torch.float32)
    assert cut.fold(cut.spread(values)).equal(values * cut.size)


@pytest.mark.parametrize("text", ["filter", "block:2x2"])
def test_a_granule_is_drawn_as_one_and_a_shard_draws_what_the_whole_would(text):
    cut = granules(text, "w", (8, 4))
    stream = Stream(1, "w", Purpose.MASK)
    whole = Shard("w", 0, 32, (8, 4), cut)
    for probability in (0.5, torch.full((8, 4), 0.5)):
        drawn = whole.bernoulli(stream, probability)
        folded = cut.fold(drawn.float()) / cut.size
        assert set(folded.tolist()) == {0.0, 1.0}
        for start in (0, 16):
            half = Shard("w", start, 16, (4, 4), cut)
            piece = probability if isinstance(probability, float) else probability[:4]
            assert half.bernoulli(stream, piece).equal(half.cut(drawn))


def test_the_chance_of_a_granule_is_exact():
    cut = granules("filter", "w", (60_000, 2))
    shard = Shard("w", 0, 120_000, (60_000, 2), cut)
    for p in (0.1, 0.7):
        one = shard.bernoulli(Stream(1, "w", Purpose.MASK), p)
        each = shard.bernoulli(Stream(1, "w", Purpose.MASK), torch.full((60_000, 2), p))
        assert one.equal(each)
        assert abs(float(one.float().mean()) - p) < 0.01


def test_heads_are_drawn_together():
    torch.manual_seed(0)
    net = nn.MultiheadAttention(8, 4, batch_first=True, bias=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    mask = select(net, 0.75, granularity="head")
    seen = set()
    with attach(net, optimizer, TemperatureAnnealing(mask, tau=0.5, steps=30)):
        for _ in range(30):
            x = torch.randn(2, 3, 8)
            net(x, x, x)[0].sum().backward()
            heads = net.in_proj_weight.detach().reshape(3, 4, 2, 8).ne(0).float().mean((0, 2, 3))
            out = net.out_proj.weight.detach().reshape(8, 4, 2).ne(0).float().mean((0, 2))
            assert heads.tolist() == out.tolist()
            assert set(heads.tolist()) <= {0.0, 1.0}
            seen.add(tuple(heads.tolist()))
            optimizer.step()
            optimizer.zero_grad()
    assert len(seen) > 3


def test_a_mask_keeps_its_granularity(tmp_path):
    net = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8))
    one = select(net, granularity="1:4")
    assert (~one).granularity == "3:4"
    assert (one & one).granularity == "unstructured"
    assert Mask.load(one.save(tmp_path / "m")).granularities == one.granularities
    rows = select(net, 0.5, granularity="filter")
    assert (rows & ~rows).granularity == "filter"
    assert repr(rows).endswith("50 % sparse, filter)")
    assert Mask({**one, **dict(rows)}, {**one.granularities, **rows.granularities}).granularity == "mixed"


def test_within_allows_whole_granules_only():
    net = layer([[4.0, 4.0], [3.0, 3.0], [1.0, 1.0]])
    former = Mask({"weight": torch.tensor([[True, False], [True, True], [True, True]])})
    assert select(net, 2 / 3, granularity="filter", within=former)["weight"].any(1).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4:2", "keeps 4 of every 2 weights: write N:M"),
        ("0:4", "keeps 0 of every 4"),
        ("block:0x4", "no granularity 'block:0x4'"),
        ("block:4", "no granularity 'block:4'"),
        ("filters", "no granularity 'filters': did you mean 'filter'"),
        ("2:3", "2:3 needs inputs in multiples of 3 and weight has 4: leave it out, exclude_modules="),
        ("block:3x1", "does not divide weight, which is 2 outputs x 4 inputs"),
        ("head", "has no attention heads that can be told"),
    ],
)
def test_bad_input_is_one_clear_sentence(text, message):
    with pytest.raises(LehrError, match=message):
        select(nn.Linear(4, 2), None if ":" in text and text[0].isdigit() else 0.5, granularity=text)


def test_sparsity_and_granularity_must_agree():
    with pytest.raises(LehrError, match=r"sparsity is 0.9 and the granularity 2:4 is 0.5 sparse by itself"):
        select(nn.Linear(4, 2), 0.9, granularity="2:4")
    with pytest.raises(LehrError, match="sparsity is missing"):
        select(nn.Linear(4, 2))
    with pytest.raises(LehrError, match="does not divide among 3 heads"):
        granules("head:3:rows@g", "w", (4, 4))
    assert check_granularity("neuron") == "filter"
    assert Granules("w", (6,), (0,)).size == 1


def test_heads_that_share_keys_are_refused():
    class Grouped(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_heads = 4
            self.q_proj, self.k_proj, self.v_proj = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 8)

    with pytest.raises(LehrError, match="shares keys among its heads"):
        select(Grouped(), 0.5, granularity="head")


def test_a_tied_head_leaves_no_layer_out():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.body, self.head = nn.Embedding(6, 4), nn.Linear(4, 4), nn.Linear(4, 6, bias=False)
            self.head.weight = self.tokens.weight

    assert list(select(Tied(), 0.5, granularity="filter")) == ["body.weight"]


def test_n_of_m_shares_nothing_out_and_needs_full_groups():
    net = nn.Linear(8, 4)
    with pytest.raises(LehrError, match="2:4 leaves nothing to share out"):
        select(net, granularity="2:4", scope="layer")
    former = select(net, granularity="1:4")
    with pytest.raises(LehrError, match="leaves too few weights for 2:4"):
        select(net, granularity="2:4", within=former)
    assert select(net, granularity="1:4", within=select(net, granularity="2:4")).kept == 8


def test_the_density_that_is_told_leaves_out_what_never_takes_part():
    net = nn.Linear(20, 10, bias=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    within = select(net, 0.5)
    method = TemperatureAnnealing(select(net, 0.9, within=within), tau=0.5, steps=10, within=within)
    with pytest.warns(UserWarning, match="annealing stopped"), attach(net, optimizer, method) as run:
        assert run.expected_density() == pytest.approx(0.1 + 0.5 * 0.4)


def test_a_parents_mask_over_other_layers_is_refused():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with pytest.raises(LehrError, match=r"cover other layers \(1.weight\): choose from the same ones"):
        TemperatureAnnealing(select(net, 0.5, target_modules=["0"]), steps=2, within=select(net, 0.25, scope="layer"))


@pytest.mark.parametrize(("width", "fused"), [(8, True), (18, False)])
def test_heads_whose_rows_cannot_be_told_are_refused(width, fused):
    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.num_heads = 2
            if fused:
                self.qkv = nn.Linear(6, 3 * width)
            else:
                self.q_proj, self.k_proj, self.v_proj = (nn.Linear(6, width) for _ in range(3))
            self.proj = nn.Linear(width, 6)

    with pytest.raises(LehrError, match="its heads are not as wide as the network: use another granularity"):
        select(Narrow(), 0.5, granularity="head")
