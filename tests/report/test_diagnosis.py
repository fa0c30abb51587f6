from dataclasses import replace

import pytest

from lehr.report.diagnosis import diagnose_rows
from lehr.report.rows import Row

ONE = Row("one-shot", 0.98, 0.1, 3, 70.0, 0.3, 0.9, 0.0, 70.0, 10, 1.0)
WARM = replace(ONE, label="temperature-annealing", accuracy=74.0)


def test_a_clear_gain_and_an_even_spread_need_no_word():
    assert diagnose_rows([ONE, WARM, replace(ONE, label="gradual", accuracy=60.0)]) == []


def test_too_cold():
    (note,) = diagnose_rows([ONE, replace(WARM, accuracy=70.2)])  # 0.2 is below sqrt(2 * 0.3^2 / 3) = 0.245
    assert note.startswith("temperature-annealing gained nothing over one-shot at 98 % (+0.20 ± 0.24 points): too cold")
    assert diagnose_rows([ONE, replace(WARM, accuracy=70.3)]) == []


def test_seeds_that_differ():
    (note,) = diagnose_rows([ONE, replace(WARM, accuracy_sd=1.5)])
    assert "differs much between seeds at 98 % (standard deviation 1.50 points, one-shot 0.30): take more seeds" in note
    assert diagnose_rows([replace(ONE, accuracy_sd=0.9), replace(WARM, accuracy_sd=1.5)]) == [], "not twice one-shot's"


def test_a_spread_is_told_without_one_shot_and_of_one_shot():
    (alone,) = diagnose_rows([replace(WARM, label="gradual", accuracy_sd=15.0)])
    assert "(standard deviation 15.00 points): take more seeds" in alone
    (itself,) = diagnose_rows([replace(ONE, accuracy_sd=9.0)])
    assert itself.startswith("one-shot differs much between seeds at 98 %")


def test_language_is_told_in_bits():
    one = replace(ONE, bits=2.5, bits_sd=0.01)
    (note,) = diagnose_rows([one, replace(WARM, bits=2.6, bits_sd=0.01)])
    assert "(-0.10 ± 0.01 bits)" in note


def test_one_seed_says_nothing():
    assert diagnose_rows([replace(ONE, n=1), replace(WARM, n=1, accuracy=1.0)]) == []


def test_one_note_for_all_sparsities_of_a_method_and_none_across_panels():
    rows = [ONE, replace(WARM, accuracy=60.0)]
    rows += [replace(row, sparsity=0.9, accuracy=80.0) for row in rows]
    (note,) = diagnose_rows(rows)
    assert "at 98 % (-10.00 ± 0.24 points), 90 % (+0.00 ± 0.24 points)" in note
    assert diagnose_rows([replace(ONE, panel="a"), replace(WARM, accuracy=60.0, panel="b")]) == []


@pytest.mark.parametrize("label", ["temperature-annealing:target=moving", "stochastic-threshold"])
def test_no_remedy_that_a_row_has_taken_or_cannot_take(label):
    (note,) = diagnose_rows([ONE, replace(WARM, label=label, accuracy=70.2)])
    assert note.endswith("too cold, or too short; raise tau, or anneal for longer")
