"""Ranks against matrices whose singular values are known."""

import pytest
import torch
from torch import nn

from lehr import LehrError
from lehr.analysis.rank import ranks
from lehr.models import initialise


def test_singular_values_that_are_known():
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, n)).Q for n in (6, 4))
    model = nn.Sequential(nn.Linear(4, 6), nn.Conv2d(2, 3, 3))
    values = torch.tensor([3.0, 2.0, 1.0, 1e-6])
    with torch.no_grad():
        model[0].weight.copy_(left[:, :4] @ values.diag() @ right)
        model[1].weight.zero_()
    first, second = ranks(model)
    assert (first.name, first.full, first.rank) == ("0.weight", 4, 3)
    assert first.stable == pytest.approx((9 + 4 + 1) / 9)
    assert (second.full, second.rank, second.stable) == (3, 0, 0.0)


def test_zero_begins_with_full_rank_where_the_layer_narrows_or_the_hadamard_matrix_helps():
    model = initialise(nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4), nn.Linear(4, 16)), "zero")
    assert [(one.rank, one.full) for one in ranks(model)] == [(4, 4)] * 3
    assert [one.stable for one in ranks(model)] == pytest.approx([4.0, 4.0, 4.0])


def test_what_is_no_number_is_one_sentence():
    model = nn.Linear(3, 3)
    model.weight.data[0, 0] = float("nan")
    with pytest.raises(LehrError, match="weight has weights that are no finite numbers"):
        ranks(model)


def test_modules_can_be_left_out():
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4))
    assert [one.name for one in ranks(model, exclude_modules=["0"])] == ["1.weight"]
