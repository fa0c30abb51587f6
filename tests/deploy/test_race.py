"""Engines side by side."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lehr import LehrError
from lehr.deploy import race as module
from lehr.deploy.race import race

MODEL = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


def test_every_engine_has_a_median_between_its_quartiles():
    found = race(MODEL, torch.randn(2, 16), ("torch", "onnxruntime"), threads=1, seconds=0.02)
    assert [lap.engine for lap in found.laps] == ["lehr", "torch", "onnxruntime"]
    assert all(0 < lap.low <= lap.median <= lap.high for lap in found.laps)
    assert found.ratio == pytest.approx(min(lap.median for lap in found.laps[1:]) / found.laps[0].median)
    assert (found.batch, found.threads) == (2, 1)


def test_the_threads_of_torch_are_put_back():
    before = torch.get_num_threads()
    race(MODEL, torch.randn(1, 16), threads=1, seconds=0.01)
    assert torch.get_num_threads() == before


def test_an_engine_that_computes_something_else_is_not_timed(monkeypatch):
    monkeypatch.setattr(module, "_engine", lambda *_: lambda: torch.zeros(1, 4))
    with pytest.raises(LehrError, match="the outputs of torch are not those of torch"):
        race(MODEL, torch.randn(1, 16), seconds=0.01)


def test_engines_that_are_not_there_are_told(monkeypatch):
    with pytest.raises(LehrError, match="there is no engine 'tensorrt'"):
        race(MODEL, torch.randn(1, 16), ("tensorrt",))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(LehrError, match=r"openvino is not installed: pip install openvino"):
        race(MODEL, torch.randn(1, 16), ("openvino",))
