"""Shared settings: two threads in all, hypothesis without a clock, the data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)  # two workers share two cores
hypothesis.settings.register_profile("lehr", deadline=None, max_examples=50)
hypothesis.settings.load_profile("lehr")

SIBLING = Path(__file__).parents[2] / "shared" / "data"  # where continuous integration keeps it
if "LEHR_DATA" not in os.environ and SIBLING.is_dir():
    os.environ["LEHR_DATA"] = str(SIBLING)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Measured plans are kept for the tests alone, not in the user's cache."""
    before = os.environ.get("LEHR_CACHE")
    os.environ["LEHR_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["LEHR_CACHE"]
    else:
        os.environ["LEHR_CACHE"] = before


@pytest.fixture
def real_data() -> Path:
    """The folder of the real data sets; without one the test is skipped, loudly."""
    folder = os.environ.get("LEHR_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("NO DATA: set LEHR_DATA to a folder with mnist, fashion_mnist and cifar10 to run this test")
    return Path(folder)
