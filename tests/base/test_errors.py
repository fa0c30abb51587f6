import pytest

from lehr.base.errors import LehrError, check_fraction, unknown
from lehr.base.registry import Registry
from lehr.base.steps import parse_length


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan"), float("inf"), "0.5", None])
def test_fractions_out_of_range(value):
    with pytest.raises(LehrError, match=r"sparsity is .*: give a fraction in \[0, 1\)"):
        check_fraction("sparsity", value)


def test_one_is_allowed_where_it_makes_sense():
    assert check_fraction("tau", 1, below_one=False) == 1.0


def test_unknown_names_list_the_near_ones_first():
    text = str(unknown("schedule", "cosign", ["linear", "cosine", "cubic"]))
    assert text.startswith("there is no schedule 'cosign': did you mean 'cosine'")
    assert str(unknown("thing", "zzz", map(str, range(250)))).endswith(" and 150 more")
    assert "choose from a, b" in str(unknown("thing", "zzz", ["b", "a"]))


def test_a_registry_refuses_a_second_owner_of_a_name():
    registry: Registry[int] = Registry("thing")
    registry.add("a", 1)
    with pytest.raises(LehrError, match="registered twice"):
        registry.add("a", 2)


@pytest.mark.parametrize("text", ["", "1.5", "-0.5", "5 epochs", "it", "ep", "nan", "it5"])
def test_lengths_that_mean_nothing(text):
    with pytest.raises(LehrError, match="the length"):
        parse_length(text, steps_per_epoch=10, total=100)
