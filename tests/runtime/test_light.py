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


def test_it_is_imported_in_no_time():
    assert min(float(python(TIMED)) for _ in range(5)) < 0.2
