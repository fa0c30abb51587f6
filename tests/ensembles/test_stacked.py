"""Members at once are members in turn; combining is what it says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lehr import Ensemble, LehrError
from lehr.ensembles import mean_logits, mean_probabilities
from lehr.models import create


@pytest.mark.parametrize(
    ("name", "shape"),
    [("lenet5", (1, 28, 28)), ("resnet20", (3, 32, 32)), ("vit_tiny", (3, 32, 32)), ("lenet_300_100", (1, 8, 8))],
)
def test_members_at_once_give_what_they_give_in_turn(name, shape):
    torch.manual_seed(0)
    networks = [create(name, num_classes=10, input_shape=shape) for _ in range(3)]
    x = torch.randn(4, *shape)
    with torch.no_grad():
        wanted = torch.stack([network.eval()(x) for network in networks])
        for batched in (True, False):
            ensemble = Ensemble(networks, batched=batched).train()
            torch.testing.assert_close(ensemble.members(x), wanted, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(ensemble(x).exp(), wanted.softmax(-1).mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batched", [True, False])
def test_networks_that_are_training_are_asked_as_they_are_judged(batched):
    torch.manual_seed(0)
    networks = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)) for _ in range(2)]
    x = torch.randn(5, 3)
    found = Ensemble(networks, batched=batched).members(x)
    assert all(module.training for network in networks for module in network.modules())
    assert not networks[0][1].running_mean.any(), "what is copied is left alone"
    torch.testing.assert_close(found, torch.stack([network.eval()(x) for network in networks]))


def test_the_networks_are_copied_and_the_weights_are_in_the_state_dict():
    networks = [nn.Linear(2, 3), nn.Linear(2, 3)]
    ensemble = Ensemble(networks)
    before = ensemble(torch.ones(1, 2))
    nn.init.zeros_(networks[0].weight)
    assert torch.equal(ensemble(torch.ones(1, 2)), before)
    other = Ensemble([nn.Linear(2, 3), nn.Linear(2, 3)])
    other.load_state_dict(ensemble.state_dict())
    assert torch.equal(other(torch.ones(1, 2)), before)


def test_means_by_hand():
    members = torch.tensor([[[0.0, 0.0]], [[torch.log(torch.tensor(3.0)), 0.0]]])
    assert mean_probabilities(members).exp().tolist() == [pytest.approx([0.625, 0.375])]
    assert mean_logits(members).softmax(-1).tolist() == [pytest.approx([3**0.5 / (1 + 3**0.5), 1 / (1 + 3**0.5)])]


def test_what_cannot_be_one_is_one_sentence():
    with pytest.raises(LehrError, match="an ensemble has no networks"):
        Ensemble([])
    with pytest.raises(LehrError, match="member 1 differs from the first in bias, weight"):
        Ensemble([nn.Linear(2, 3), nn.Linear(2, 4, bias=True)])
    with pytest.raises(LehrError, match="no combination 'logit': did you mean 'logits'"):
        Ensemble([nn.Linear(2, 3)], combine="logit")

    class Branching(nn.Linear):
        def forward(self, x):
            return super().forward(x) if self.weight.sum() > 0 else x

    with pytest.raises(LehrError, match=r"cannot run at once .*: give batched=False"):
        Ensemble([Branching(2, 2), Branching(2, 2)])(torch.ones(1, 2))
