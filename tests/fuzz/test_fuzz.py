"""A little fuzzing in every run of the tests; `make test-long` does it for an hour, under sanitizers."""

from __future__ import annotations

import time

import pytest

from lehr.runtime.native import REASON, available
from tests.fuzz.fuzz import fuzz

pytestmark = pytest.mark.skipif(not available(), reason=REASON)


def test_random_files_graphs_and_operations_are_refused_or_run():
    ends = fuzz(8.0, seed=time.time_ns() % 10**12)
    assert ends.total() > 50
    assert {"file refused", "graph refused", "operation refused", "operation run"} <= set(ends), ends


def test_a_try_can_be_made_again():
    assert fuzz(60.0, seed=5, tries=6) == fuzz(60.0, seed=5, tries=6)
