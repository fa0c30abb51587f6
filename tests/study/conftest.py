"""Many short runs in one process."""

import gc

import pytest
import torch


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """No collection of garbage at the end of each run, longer than the run; threads as they were for the tests after these."""
    monkeypatch.setattr(gc, "collect", lambda *args: 0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
