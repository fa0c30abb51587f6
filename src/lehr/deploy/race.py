"""Engines side by side: the same network, the same input, in turns."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lehr.base.environment import cores
from lehr.base.errors import LehrError, unknown
from lehr.deploy.compile import TOLERANCE, Compiled, Report, compile

AGAINST = ("torch", "torch.compile", "onnxruntime", "openvino")
EXTRAS = {"onnxruntime": "pip install 'lehr[onnx]'", "openvino": "pip install openvino"}
PAUSE = 0.03  # seconds between engines: threads of one that look for work would take the cores of the next
HALF = torch.bfloat16

Run = Callable[[], object]


@dataclass(frozen=True)
class Lap:
    """How long one engine took for a batch: median and quartiles, in seconds."""

    engine: str
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Race:
    """All engines on one network, lehr's first, and what became of the network there."""

    laps: tuple[Lap, ...]
    report: Report
    threads: int
    batch: int

    @property
    def ratio(self) -> float:
        """How many times faster lehr is than the fastest of the others; NaN without any."""
        others = [lap.median for lap in self.laps[1:]]
        return min(others) / self.laps[0].median if others else float("nan")


def race(
    model: nn.Module,
    inputs: Tensor,
    against: Sequence[str] = ("torch",),
    *,
    threads: int | None = None,
    seconds: float = 2.0,
    dtype: str = "fp32",
) -> Race:
    """Time lehr against other engines, all with so many threads, in turns, each checked against torch.

    Args:
        model: the network, in evaluation mode on the CPU.
        inputs: a batch.
        against: some of ``torch``, ``torch.compile``, ``onnxruntime``, ``openvino``.
        threads: of every engine; by default all cores.
        seconds: of measuring for each engine.
        dtype: ``fp32`` or ``bf16``, of every engine but ONNX Runtime, which has no bf16
            on the CPU and stays in fp32.

    Raises:
        LehrError: an engine is not installed, or its outputs are not those of torch.

    >>> found = race(nn.Linear(4, 2), torch.zeros(1, 4), threads=1, seconds=0.01)
    >>> [lap.engine for lap in found.laps]
    ['lehr', 'torch']
    """
    for name in against:
        if name not in AGAINST:
            raise unknown("engine", name, AGAINST)
        if name in EXTRAS and find_spec(name) is None:
            raise LehrError(f"{name} is not installed: {EXTRAS[name]}, or leave it out of --against")
    threads = threads or cores()
    before = torch.get_num_threads()
    model = model.eval()
    try:
        torch.set_num_threads(threads)
        fast = compile(model, inputs, threads=threads, dtype=dtype)
        with tempfile.TemporaryDirectory() as folder:
            runs = {"lehr": _lehr(fast, inputs)} | {
                name: _engine(name, model, inputs, threads, dtype, Path(folder)) for name in against
            }
            _check(model, inputs, runs, TOLERANCE[dtype])
            found = laps(runs, seconds)
    finally:
        torch.set_num_threads(before)
    return Race(tuple(found), fast.report, threads, len(inputs))


def _lehr(fast: Compiled, inputs: Tensor) -> Run:
    array = inputs.numpy()
    return lambda: fast(array)


def _engine(name: str, model: nn.Module, inputs: Tensor, threads: int, dtype: str, folder: Path) -> Run:
    if name in ("torch", "torch.compile"):
        own = model if dtype == "fp32" else copy.deepcopy(model).to(HALF)
        ready = torch.compile(own) if name == "torch.compile" else own
        given = inputs if dtype == "fp32" else inputs.to(HALF)

        def run() -> object:
            with torch.inference_mode():
                return ready(given).float()

        return run
    from lehr.deploy.export import export_onnx

    path = folder / f"{name}.onnx"
    export_onnx(model, path, inputs)
    array = inputs.numpy()
    if name == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        named = {session.get_inputs()[0].name: array}
        return lambda: session.run(None, named)
    import openvino

    model_of = openvino.Core().read_model(path)
    model_of.reshape(list(array.shape))
    hints = {
        "INFERENCE_PRECISION_HINT": "f32" if dtype == "fp32" else "bf16",
        "INFERENCE_NUM_THREADS": str(threads),
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(model_of, "CPU", hints).create_infer_request()
    return lambda: request.infer([array])[0]


def _check(model: nn.Module, inputs: Tensor, runs: dict[str, Run], tolerance: float) -> None:
    """Raise where an engine does not compute what the network does."""
    with torch.inference_mode():
        wanted = model(inputs).numpy()
    for name, run in runs.items():
        found = run()
        found = np.asarray(found[0] if isinstance(found, (list, tuple)) else found)
        if found.shape != wanted.shape or float(np.abs(found - wanted).max()) > tolerance * float(np.abs(wanted).max()):
            raise LehrError(f"the outputs of {name} are not those of torch: leave it out of --against")


def laps(runs: dict[str, Run], seconds: float) -> list[Lap]:
    """Each engine for a while, in turns, until each has had its time: so many seconds, and six runs at least."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    end = time.perf_counter() + seconds * len(runs)
    while time.perf_counter() < end or min(map(len, times.values())) < 6:
        for name, run in runs.items():
            time.sleep(PAUSE)
            run()  # the first after another engine finds its caches empty
            begin = time.perf_counter()
            while True:
                before = time.perf_counter()
                run()
                now = time.perf_counter()
                times[name].append(now - before)
                if now - begin > 0.05:
                    break
    return [Lap(name, *(float(np.quantile(found, q)) for q in (0.5, 0.25, 0.75))) for name, found in times.items()]
