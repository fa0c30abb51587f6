"""Lists as axes, by hand."""

import pytest

from lehr import LehrError
from lehr.study.grid import points


def test_the_last_axis_changes_fastest():
    assert list(points({"method": ["a", "b"], "epochs": 3, "seed": [0, 1]})) == [
        {"method": "a", "epochs": 3, "seed": 0},
        {"method": "a", "epochs": 3, "seed": 1},
        {"method": "b", "epochs": 3, "seed": 0},
        {"method": "b", "epochs": 3, "seed": 1},
    ]


def test_a_grid_without_a_list_is_one_point():
    assert list(points({"epochs": 3, "tau": None})) == [{"epochs": 3, "tau": None}]
    assert list(points({})) == [{}]


def test_a_list_of_one_value_is_that_value():
    assert list(points({"seed": [4]})) == [{"seed": 4}]


def test_a_list_in_a_list_is_one_value():
    assert list(points({"modules": [["a", "b"], ["c"]], "only": [["d"]]})) == [
        {"modules": ("a", "b"), "only": ("d",)},
        {"modules": ("c",), "only": ("d",)},
    ]


def test_a_text_is_no_list():
    assert list(points({"method": "gradual"})) == [{"method": "gradual"}]


def test_the_number_of_points_is_the_product_of_the_axes():
    assert len(list(points({"a": [1, 2, 3], "b": (4, 5), "c": [6], "d": 7}))) == 6


@pytest.mark.parametrize("empty", [[], ()])
def test_an_empty_list_is_refused_and_not_a_grid_without_runs(empty):
    with pytest.raises(LehrError, match="tau is an empty list: give it a value, or leave it out"):
        list(points({"method": "gradual", "tau": empty}))
