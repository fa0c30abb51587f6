import copy

import pytest
import torch
from torch import nn

from lehr import LehrError, models
from lehr.analysis.sensitivity import sensitivity


def test_each_layer_alone_and_all_comes_back():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)))
    before = copy.deepcopy(net.state_dict())
    seen = []

    def judge(model):
        cut = [n for n, p in model.named_parameters() if (p == 0).any()]
        seen.append((cut, sum(int((p == 0).sum()) for p in model.parameters())))
        return float(len(seen))

    rows = sensitivity(net, [0.25, 0.5], judge)
    assert [row.layer for row in rows] == ["0", "2.0", "2.1"]
    assert [row.quality for row in rows] == [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)]
    assert seen == [
        (["0.weight"], 8), (["0.weight"], 16), (["2.0.weight"], 6), (["2.0.weight"], 12), (["2.1.weight"], 3),
        (["2.1.weight"], 6),
    ]  # fmt: skip
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_heads_are_cut_together_and_what_does_not_divide_is_left_out():
    net = models.create("gpt_mini", vocabulary=20, context=8)
    rows = sensitivity(
        net, [0.5], lambda m: float(sum(int((p == 0).sum()) for p in m.parameters())), granularity="head"
    )
    assert [row.layer for row in rows] == [f"blocks.{i}.attention" for i in range(4)]
    assert {row.quality[0] for row in rows} == {(3 + 1) * 128 * 128 / 2}
    odd = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    rows = sensitivity(odd, [0.5], lambda m: 1.0, granularity="block:4x1")
    assert [row.quality for row in rows] == [(None,), (1.0,)]
    with pytest.raises(LehrError, match="fits no layer"):
        sensitivity(odd, [0.5], lambda m: 1.0, granularity="block:7x1")


def test_a_judge_that_fails_leaves_the_network_whole():
    net = nn.Linear(4, 2)
    before = net.weight.detach().clone()

    def judge(model):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        sensitivity(net, [0.5], judge)
    assert torch.equal(net.weight, before)
