"""What is fuzzed: files, graphs and the operations of a program; each target does one random try and says how it ended.

An end is a word: "refused" with one sentence, or "run". Anything else is a failure: another exception, a report of a sanitizer,
outputs of another shape than was told, memory beyond what the input's size explains.
"""

from __future__ import annotations

import copy
import random
import tempfile
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lehr.base.errors import LehrError
from lehr.deploy.family import save_family
from lehr.masks.partition import partition
from lehr.runtime.file import Contents, pack, read, unpack
from lehr.runtime.graph import graph_of
from lehr.runtime.lowering import lower
from lehr.runtime.lowering.steps import Machine
from lehr.runtime.native import native
from lehr.runtime.net import Net, load
from lehr.runtime.nets import Nets, load_nets
from tests.fuzz.networks import GRAPHS, TENSORS
from tests.runtime.forged import entries_of, file_of, leaves

FOLDER = Path(__file__).parent.parent / "runtime"
NUMBERS = [
    -1,
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    15,
    16,
    17,
    31,
    32,
    63,
    64,
    100,
    255,
    1000,
    2**15,
    2**16,
    2**20,
    2**31 - 1,
    2**31,
    2**40,
    2**63 - 1,
]
SMALL = 2**15  # lines of an arena that is run


def files() -> list[bytes]:
    """Files to begin with: those of the corpus, of each version, and some that hold a graph."""
    found = [path.read_bytes() for path in sorted(FOLDER.glob("corpus/*.lehr")) + sorted(FOLDER.glob("files/*.lehr"))]
    return found + [pack(Contents({}, TENSORS, graph)).content for graph in GRAPHS] + families()


def families() -> list[bytes]:
    """Files of members whose places are told by those of others: parts of one deal, and equal masks."""
    torch.manual_seed(0)
    plain = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 3)
    ).eval()
    parts = partition(plain, 3)
    found = []
    for masks in (parts, (parts[0], parts[0], parts[1])):
        members = [copy.deepcopy(plain) for _ in masks]
        for mask, member in zip(masks, members, strict=True):
            mask.apply_(member)
        with tempfile.TemporaryDirectory() as folder:
            saved = save_family(
                members, Path(folder) / "family.lehr", masks=masks, example_inputs=torch.zeros(1, 2, 6, 6)
            )
            found.append(saved.path.read_bytes())
    return found


FILES = files()


def a_file(rng: random.Random, folder: Path) -> str:
    """A file with bytes changed, cut or added, sometimes under a right checksum."""
    content = bytearray(rng.choice(FILES))
    if rng.random() < 0.5:
        try:
            entries, tensors = entries_of(bytes(content))
        except (LehrError, ValueError, KeyError, TypeError, RecursionError, zlib.error):
            pass
        else:
            if rng.random() < 0.5:
                tensors = bytes(_mutated(rng, bytearray(tensors)))
            else:
                entries = _lied(rng, entries)
            content = bytearray(file_of(entries, tensors))
    else:
        content = _mutated(rng, content)
    path = folder / "fuzzed.lehr"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        unpack(bytes(content))
        contents = read(path)
        for tensor in contents.tensors.values():
            assert tensor.dense().size == tensor.size
    except LehrError as error:
        return _one_sentence(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 300 * len(content) + 50e6, f"{peak / 1e6:.0f} MB for {len(content):,} bytes"
    try:
        if contents.graph is not None and contents.about.get("members"):
            _run_together(load_nets(path, threads=2))
        elif contents.graph is not None:
            _run(load(path, threads=2))
    except LehrError as error:
        return _one_sentence(error)
    return "run"


def a_graph(rng: random.Random, folder: Path) -> str:
    """A graph with values changed, removed and copied."""
    value = _lied(rng, copy.deepcopy(rng.choice(GRAPHS)))
    try:
        graph = graph_of(value)
        lowered = lower(graph, TENSORS, Machine(16, 16, 2, 6))
        if lowered.lines > SMALL:
            return "large"
        _run(Net(graph, TENSORS, threads=2, kernels=rng.choice(_kernels()), dtype=rng.choice(["fp32", "bf16"])))
    except LehrError as error:
        return _one_sentence(error)
    return "run"


def an_operation(rng: random.Random, folder: Path) -> str:
    """A right program in which numbers and tables of one operation are changed: refused, or run inside of its arena."""
    patches, half = rng.choice([(16, False), (1, False), (4, False), (32, True), (16, True)])
    kernels = rng.choice(_kernels())
    graph = graph_of(rng.choice(GRAPHS))
    if half and any(node.op in ("tokens", "attention", "layer_norm", "softmax") for node in graph.nodes):
        half, patches = False, 16
    machine = Machine(patches, 32 if half else 16, 2, native().most_pixels(kernels, half))
    try:
        lowered = lower(graph, TENSORS, machine)
    except LehrError as error:
        return _one_sentence(error)
    program = native().Program(
        max(1, lowered.lines), list(lowered.inputs), list(lowered.outputs), machine.samples, 2, kernels, half
    )
    victim = rng.randrange(len(lowered.operations))
    try:
        for line, words in lowered.constants:
            program.constant(line if rng.random() < 0.95 else rng.choice(NUMBERS), words)
        for place, (kind, told) in enumerate(lowered.operations):
            program.add(kind, _changed(rng, told) if place == victim else told)
        count = rng.choice([1, machine.samples, machine.samples + 1])
        inputs = [np.ones((count, size), dtype=np.float32) for size in lowered.inputs]
        program.run(inputs, [np.empty((count, size), dtype=np.float32) for size in lowered.outputs])
    except (ValueError, TypeError, RuntimeError, OverflowError):
        return "refused"  # the native part's own words, which no user sees
    return "run"


TARGETS: dict[str, Callable[[random.Random, Path], str]] = {"file": a_file, "graph": a_graph, "operation": an_operation}


def _kernels() -> list[str]:
    return [name for name in ("avx512", "avx2", "portable") if native().has_kernels(name)]


def _run(net: Net) -> None:
    for many in (False, True):
        if net.program(many)[1].lines > SMALL:
            return
    for count in (1, 17):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = net(*(np.ones((count, *shape), dtype=np.float32) for _, shape in net.graph.inputs))
        for array in found if isinstance(found, tuple) else (found,):
            assert len(array) == count


def _run_together(nets: Nets) -> None:
    for net in nets.nets:
        _run(net)
    if all(net.program(False)[1].lines <= SMALL for net in nets.nets):
        nets.members(*(np.ones((2, *shape), dtype=np.float32) for _, shape in nets.nets[0].graph.inputs))


def _one_sentence(error: LehrError) -> str:
    text = str(error)
    assert "\n" not in text, text
    assert 20 < len(text) < 5000, text
    return "refused"


def _mutated(rng: random.Random, content: bytearray) -> bytearray:
    """Some bytes changed, cut, repeated or added."""
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        if not content:
            break
        place = rng.randrange(len(content))
        match rng.randrange(6):
            case 0:
                content[place] ^= 1 << rng.randrange(8)
            case 1:
                content[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            case 2:
                del content[place : place + rng.choice([1, 2, 8, 64, 10**6])]
            case 3:
                content[place:place] = rng.randbytes(rng.choice([1, 4, 32]))
            case 4:
                content[place:place] = content[place : place + rng.choice([1, 8, 64])]
            case 5:
                content[place : place + 8] = rng.choice(NUMBERS[1:]).to_bytes(8, "little")
    return content


def _lied(rng: random.Random, value: Any) -> Any:
    """A JSON value in which some parts are others."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        places = leaves(value)
        if not places:
            return value
        *path, last = rng.choice(places)
        parent = value
        for key in path:
            parent = parent[key]
        match rng.randrange(4):
            case 0:
                del parent[last]
            case 1:
                other = value
                for key in rng.choice(places):
                    try:
                        other = other[key]
                    except (KeyError, IndexError, TypeError):
                        break
                parent[last] = copy.deepcopy(other)
            case _ if isinstance(parent[last], str):
                parent[last] = rng.choice(["", "w", "x", "a", "conv", "add", "relu", "F32", "I8", "é" * 99, "\n"])
            case _:
                parent[last] = rng.choice([*NUMBERS, 0.5, -1e300, float("nan"), None, True, [], {}, [1, 1], "x"])
    return value


def _changed(rng: random.Random, told: dict[str, Any]) -> dict[str, Any]:
    """An operation with one or two of its numbers or tables changed."""
    told = dict(told)
    for name in rng.sample(sorted(told), rng.choice([1, 1, 2])):
        value = told[name]
        if isinstance(value, np.ndarray):
            value = value.copy()
            match rng.randrange(3):
                case 0 if len(value):
                    limit = np.iinfo(value.dtype).max if value.dtype.kind == "i" else 1e30
                    value[rng.randrange(len(value))] = min(rng.choice(NUMBERS), limit)
                case 1:
                    value = value[: rng.randrange(len(value) + 1)]
                case _:
                    value = np.concatenate([value, value[:7]])
        elif isinstance(value, bool):
            value = not value
        elif isinstance(value, int):
            value = rng.choice([*NUMBERS, value + 1, value - 1, 2 * value])
        elif isinstance(value, float):
            value = rng.choice([0.0, -1.0, float("nan"), float("inf")])
        told[name] = value
    return told
