"""The compiled part under AddressSanitizer and UndefinedBehaviorSanitizer: ``python -m tests.fuzz.sanitized --minutes 60``.

Builds it beside the ordinary one, runs the engine's own tests with it, and fuzzes with it for what is left of the time. The first
report of a sanitizer ends the process with its trace.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "sanitized"
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",  # Python leaks by design
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "PYTHONMALLOC": "malloc",  # every array of Python's own too
}
TESTS = [
    "tests/runtime/test_kernels.py",
    "tests/runtime/test_net.py",
    "tests/runtime/test_nets.py",
    "tests/runtime/test_graph.py",
    "tests/sparsify/test_sample.py",
]


def build() -> Path:
    """Compile; the module."""
    import nanobind

    configure = [
        "cmake", "-S", str(ROOT / "native"), "-B", str(BUILD), "-DLEHR_SANITIZE=ON", f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dnanobind_DIR={nanobind.cmake_dir()}",
    ]  # fmt: skip
    subprocess.run([*configure, *(["-G", "Ninja"] if shutil.which("ninja") else [])], check=True)
    subprocess.run(["cmake", "--build", str(BUILD), "--parallel"], check=True)
    return next(BUILD.glob("_native*.so"))


def run(module: Path, *command: str) -> None:
    """Run a module of Python with the sanitized part in the place of the ordinary one."""
    # The sanitizer comes first, and needs the library that throws exceptions from the start.
    libraries = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    told = os.environ | OPTIONS | {"LD_PRELOAD": " ".join(libraries), "LEHR_FUZZ_MODULE": str(module)}
    subprocess.run([sys.executable, "-m", "tests.fuzz.sanitized", "--inside", *command], env=told, cwd=ROOT, check=True)


def inside(command: list[str]) -> None:
    """In the process that has the sanitizers: take the module, then do what was asked."""
    import importlib.util
    import runpy

    path = os.environ["LEHR_FUZZ_MODULE"]
    spec = importlib.util.spec_from_file_location("lehr.runtime._native", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["lehr.runtime._native"] = module
    import lehr.runtime

    lehr.runtime._native = module  # type: ignore[attr-defined]
    from lehr.runtime.native import native

    assert native().__file__ == path, "the ordinary module was taken"
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def main() -> None:
    """Build, test, fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--inside", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.inside:
        inside(options.inside)
        return
    module = build()
    run(module, "pytest", "-q", "-p", "no:cacheprovider", *TESTS)
    run(module, "tests.fuzz.fuzz", "--minutes", str(options.minutes), "--told", str(BUILD / "last.txt"))


if __name__ == "__main__":
    main()
