"""Differences of pairs and their intervals against tables and SciPy; ranks by hand."""

import math
import statistics

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import t as student
from scipy.stats import ttest_rel

from lehr import LehrError
from lehr.analysis.paired import mean_ranks, paired_difference, unpaired_difference

# Student's t at 97.5 % by degrees of freedom, from printed tables.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 29: 2.045}

scores = st.floats(-100, 100).map(lambda x: round(x, 6))
pairs = st.lists(st.tuples(scores, scores), min_size=2, max_size=12)


def interval(first, second, confidence: float = 0.95) -> tuple[float, float, float]:
    found = paired_difference(first, second, confidence)
    return found.mean, found.low, found.high


def test_three_seeds_by_hand():
    found = paired_difference([82.0, 71.0, 63.0], [80.0, 70.0, 60.0])  # 2, 1, 3: mean 2, standard deviation 1
    half = T[2] / math.sqrt(3)
    assert (found.mean, found.n) == (2.0, 3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-3)


def test_two_seeds_by_hand():
    found = paired_difference([1.0, 4.0], [0.0, 1.0])  # 1, 3: mean 2, standard deviation sqrt(2)
    assert (found.low, found.high) == pytest.approx((2 - T[1], 2 + T[1]), abs=1e-3)


@pytest.mark.parametrize("freedom", T)
def test_the_width_is_that_of_printed_tables(freedom):
    n = freedom + 1
    found = paired_difference([float(i) for i in range(n)], [0.0] * n)
    assert (found.high - found.low) / 2 == pytest.approx(
        T[freedom] * statistics.stdev(range(n)) / math.sqrt(n), rel=1e-3
    )


def test_only_pairs_count_and_not_how_seeds_differ():
    """Seeds that differ by 10 points leave a difference of 1 point as clear as it is."""
    first, second = [81.0, 71.1, 60.9], [80.0, 70.0, 60.0]
    found = paired_difference(first, second)
    assert 0.7 < found.low < found.mean < found.high < 1.3


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@given(pairs)
def test_it_is_scipys_interval(confidence, values):
    first, second = zip(*values, strict=True)
    assume(len({round(a - b, 6) for a, b in values}) > 1)
    expected = ttest_rel(first, second).confidence_interval(confidence)
    mean, low, high = interval(first, second, confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-6)
    assert mean == pytest.approx(statistics.fmean(first) - statistics.fmean(second), abs=1e-9)


@given(pairs)
def test_the_other_way_round_it_has_the_other_sign(values):
    first, second = zip(*values, strict=True)
    mean, low, high = interval(first, second)
    assert interval(second, first) == pytest.approx((-mean, -high, -low), abs=1e-9)


@given(pairs, scores)
def test_a_shift_of_both_changes_nothing_and_of_one_shifts_it(values, shift):
    first, second = zip(*values, strict=True)
    mean, low, high = interval(first, second)
    moved = [a + shift for a in first]
    assert interval(moved, [b + shift for b in second]) == pytest.approx((mean, low, high), abs=1e-6)
    assert interval(moved, second) == pytest.approx((mean + shift, low + shift, high + shift), abs=1e-6)


@given(pairs, st.floats(0.01, 100))
def test_another_unit_scales_it(values, unit):
    first, second = zip(*values, strict=True)
    expected = [unit * value for value in interval(first, second)]
    assert interval([unit * a for a in first], [unit * b for b in second]) == pytest.approx(
        expected, rel=1e-6, abs=1e-6
    )


@given(pairs, st.randoms())
def test_the_order_of_pairs_does_not_matter(values, random):
    first, second = zip(*values, strict=True)
    shuffled = list(values)
    random.shuffle(shuffled)
    other = interval(*zip(*shuffled, strict=True))
    assert other == pytest.approx(interval(first, second), abs=1e-9)


@given(pairs)
def test_more_confidence_is_a_wider_interval_around_the_same_mean(values):
    first, second = zip(*values, strict=True)
    narrow, wide = paired_difference(first, second, 0.8), paired_difference(first, second, 0.99)
    assert narrow.mean == wide.mean
    assert wide.low <= narrow.low <= narrow.mean <= narrow.high <= wide.high


def test_the_same_difference_in_every_pair_is_certain():
    found = paired_difference([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    assert (found.low, found.mean, found.high) == (2.0, 2.0, 2.0)


def test_one_pair_has_a_difference_and_no_interval():
    found = paired_difference([3.0], [1.0])
    assert (found.mean, found.n) == (2.0, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize(
    ("first", "second", "counts"), [([], [], "0 and 0"), ([1.0], [], "1 and 0"), ([1.0, 2.0], [1.0], "2 and 1")]
)
def test_what_is_not_in_pairs_is_refused(first, second, counts):
    with pytest.raises(LehrError, match=f"^{counts} scores make no pairs: give one a seed$"):
        paired_difference(first, second)


# -- ranks --------------------------------------------------------------------------------------------------


def test_the_difference_of_two_means_by_hand():
    found = unpaired_difference([2.0, 3.0, 5.0, 6.0], [1.0, 2.0])
    parts = (10 / 3) / 4, 0.5 / 2  # variances of the means
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 1)
    half = student.ppf(0.975, freedom) * math.sqrt(sum(parts))
    assert (found.mean, found.n) == (2.5, 2)
    assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half))
    other = unpaired_difference([1.0, 2.0], [2.0, 3.0, 5.0, 6.0])
    assert (other.mean, other.low, other.high) == pytest.approx((-2.5, -found.high, -found.low))


def test_two_means_without_spread_are_certain_and_one_score_has_none():
    sure = unpaired_difference([2.0, 2.0], [1.0, 1.0, 1.0])
    assert (sure.mean, sure.low, sure.high) == (1, 1, 1)
    with pytest.raises(LehrError, match="1 and 2 scores"):
        unpaired_difference([1.0], [1.0, 2.0])


def test_ranks_by_hand():
    blocks = [{"a": 3.0, "b": 1.0, "c": 2.0}, {"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 9.0, "b": 8.0, "c": 7.0}]
    assert mean_ranks(blocks) == pytest.approx({"a": (1 + 3 + 1) / 3, "b": (3 + 2 + 2) / 3, "c": (2 + 1 + 3) / 3})


def test_ties_share_their_ranks():
    assert mean_ranks([{"a": 1.0, "b": 1.0, "c": 0.0}]) == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert mean_ranks([{"a": 5.0, "b": 5.0, "c": 5.0, "d": 5.0}]) == dict.fromkeys("abcd", 2.5)
    assert mean_ranks([{"a": 0.0, "b": 2.0, "c": 2.0, "d": 2.0}]) == {"a": 4.0, "b": 2.0, "c": 2.0, "d": 2.0}


def test_only_names_that_every_block_has_are_ranked():
    blocks = [{"a": 3.0, "b": 9.0, "c": 2.0}, {"a": 1.0, "c": 2.0}]
    assert mean_ranks(blocks) == {"a": 1.5, "c": 1.5}
    assert mean_ranks(blocks[::-1]) == {"a": 1.5, "c": 1.5}
    assert mean_ranks([{"a": 1.0}, {"b": 1.0}]) == {}
    assert mean_ranks([]) == {}


def test_one_name_is_first():
    assert mean_ranks([{"a": 1.0}, {"a": -5.0}]) == {"a": 1.0}


names = st.lists(st.sampled_from("abcdef"), min_size=1, unique=True)
tables = names.flatmap(
    lambda chosen: st.lists(
        st.fixed_dictionaries({name: st.integers(0, 5).map(float) for name in chosen}), min_size=1, max_size=6
    )
)


@given(tables)
def test_ranks_add_up_whatever_the_ties(blocks):
    ranks = mean_ranks(blocks)
    k = len(ranks)
    assert ranks.keys() == blocks[0].keys()
    assert sum(ranks.values()) == pytest.approx(k * (k + 1) / 2)
    assert all(1 <= rank <= k for rank in ranks.values())


@given(tables)
def test_only_the_order_of_scores_counts(blocks):
    stretched = [{name: math.exp(value) - 7 for name, value in block.items()} for block in blocks]
    assert mean_ranks(stretched) == mean_ranks(blocks)


@given(tables)
def test_what_is_never_worse_is_never_ranked_below(blocks):
    ranks = mean_ranks(blocks)
    for one in ranks:
        for other in ranks:
            if all(block[one] >= block[other] for block in blocks):
                assert ranks[one] <= ranks[other]
