"""The reader without torch: it is imported in no time, and reads a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).parent / "files" / "version1.lehr"

BLOCKED = f"""
import sys
sys.modules["torch"] = None
import lehr
import lehr.runtime.file
contents = lehr.runtime.file.read({str(FILE)!r})
assert contents.tensors["sparse"].dense()[0, 7] == 7.5
assert "safetensors" not in sys.modules and "scipy" not in sys.modules
"""

ENGINE = """
import sys
sys.modules["torch"] = None
import numpy as np
import lehr.runtime.net
from lehr.runtime.graph import graph_of
from lehr.runtime.native import available
from lehr.runtime.tensors import Stored

weight = Stored("w", "F32", (2, 3), np.arange(6, dtype=np.float32))
graph = graph_of({"inputs": [["x", [3]]], "outputs": ["y"], "nodes": [["linear", ["x"], "y", {"weight": "w"}]]})
if available():
    found = lehr.runtime.net.Net(graph, {"w": weight}, threads=2)(np.ones((1, 3)))
    assert found.tolist() == [[3, 12]]
assert "scipy" not in sys.modules and "safetensors" not in sys.modules
"""

TIMED = """
import time
import numpy
start = time.perf_counter()
import lehr.runtime.file
print(time.perf_counter() - start)
"""


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_it_reads_where_there_is_no_torch():
    python(BLOCKED)


def test_the_engine_runs_where_there_is_no_torch():
    python(ENGINE)


def test_it_is_imported_in_no_time():
    assert min(float(python(TIMED)) for _ in range(5)) < 0.2
