"""The barrier between two runs: measured once for what it is asked for, and kept."""

from __future__ import annotations

import json
from itertools import product

import pytest

from lehr import LehrError
from lehr.study import between
from lehr.study.between import FILE, barrier_between


def test_a_barrier_is_measured_once_for_every_pair_part_and_precision(tmp_path, monkeypatch):
    asked = []

    def connect(wanted):
        asked.append((wanted.run, wanted.other, wanted.parts, wanted.points, wanted.bn_batches))
        return {wanted.parts[0]: {"barrier": len(asked) / 100}}

    monkeypatch.setattr(between, "connect", connect)
    ways = list(product([("a", "b"), ("a", "c"), ("b", "a")], ["train", "test"], [5, 11], [0, 100]))
    for _ in range(2):
        found = [
            barrier_between(*pair, tmp_path, part=part, points=points, bn_batches=count)
            for pair, part, points, count in ways
        ]
        assert found == pytest.approx([(i + 1) / 100 for i in range(24)])
    assert asked == [(*pair, (part,), points, count) for pair, part, points, count in ways]


@pytest.mark.parametrize("held", ["[]", '{"a b barrier test 5 0": [1]}', '{"a b barrier test 5 0": [0.1, 0.2]}', "{"])
def test_a_file_of_measurements_that_is_damaged_is_told(tmp_path, held):
    (tmp_path / FILE).write_text(held)
    with pytest.raises(LehrError, match=r"between\.json is damaged"):
        barrier_between("a", "b", tmp_path, part="test", points=5, bn_batches=0)


def test_where_weights_are_gone_it_says_what_was_measured_while_they_were_there(tmp_path):
    (tmp_path / FILE).write_text(
        '{"a b barrier test 5 20": [0.1], "a b barrier test 7 0": [0.2], "a b barrier train 3 3": [0.1], "a c barrier test 9 0": [0.2]}'
    )
    for run in "ab":
        (tmp_path / run).mkdir()
    asked = {"out": tmp_path, "part": "test", "bn_batches": 0}
    with pytest.raises(
        LehrError,
        match="weights of .*a are gone.* measured was --points 5 --bn-batches 20; --points 7 --bn-batches 0; give those, or delete",
    ):
        barrier_between(str(tmp_path / "a"), str(tmp_path / "b"), points=5, **asked)
    with pytest.raises(LehrError, match="not measured while they were there: delete the folder"):
        barrier_between(str(tmp_path / "b"), str(tmp_path / "a"), points=5, **asked)


def test_what_another_process_measures_meanwhile_is_not_lost(tmp_path, monkeypatch):
    def connect(wanted):
        if wanted.other == "b":  # while this is measured, another process writes
            barrier_between("a", "c", tmp_path, part="test", points=5, bn_batches=0)
        return {"test": {"barrier": 0.5 if wanted.other == "b" else 0.25}}

    monkeypatch.setattr(between, "connect", connect)
    assert barrier_between("a", "b", tmp_path, part="test", points=5, bn_batches=0) == 0.5
    assert sorted(json.loads((tmp_path / FILE).read_text()).values()) == [[0.25], [0.5]]
