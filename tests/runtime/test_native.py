"""The compiled part is there wherever it can be, so that no test of it is passed over by mistake."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lehr import LehrError
from lehr.runtime import native as module

ROOT = Path(__file__).parents[2]


def test_where_there_is_a_compiler_the_engine_was_built():
    if shutil.which("c++") or shutil.which("clang++"):
        assert module.available(), module.REASON
        assert module.native().has_kernels(module.native().best_kernels())
        assert module.native().has_kernels("portable")


def test_where_it_was_not_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr(module, "_found", None)
    with pytest.raises(LehrError, match=r"install a C\+\+ compiler, then pip install --force-reinstall lehr"):
        module.native()


@pytest.mark.skipif(not module.available(), reason=module.REASON)
def test_a_program_that_reaches_beyond_its_arena_is_refused():
    import numpy as np

    program = module.native().Program(
        lines=4, inputs=[4], outputs=[4], samples=1, workers=1, kernels="portable", half=False
    )
    told = {"in": 0, "out": 0, "channels": 1, "in_channel": 1, "out_channel": 1, "lines": 4}
    program.add("softmax", told)
    for wrong in ({"lines": 5}, {"in": -1}, {"in": 2**62}, {"channels": 2**40}, {"out_channel": -1, "channels": 2}):
        with pytest.raises(ValueError):
            program.add("softmax", told | wrong)
    with pytest.raises(ValueError, match="another number of arrays"):
        program.run([], [np.zeros(4, dtype=np.float32)])
    with pytest.raises(ValueError, match="not of the program's sizes"):
        program.run([np.zeros(4, dtype=np.float32)], [np.zeros(5, dtype=np.float32)])


def test_with_no_compiler_lehr_is_installed_without_its_engine(tmp_path):
    """And says so: see the test above for the words."""
    told = os.environ | {"CXX": "/nonexistent/c++", "CC": "/nonexistent/cc"}
    wheel = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*wheel, "--wheel-dir", str(tmp_path)], env=told, check=True, capture_output=True)
    (made,) = tmp_path.glob("lehr-*.whl")
    assert made.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(made) as archive:
        names = archive.namelist()
        assert "lehr/runtime/net.py" in names
        assert not [name for name in names if name.endswith(".so")]
        archive.extractall(tmp_path / "site")
    asked = "from lehr.runtime import native as n; assert not n.available(); n.native()"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); sys.meta_path[:] = "
         f"[f for f in sys.meta_path if 'ditable' not in type(f).__module__ + type(f).__name__]; {asked}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "install a C++ compiler, then pip install --force-reinstall lehr" in found.stderr
