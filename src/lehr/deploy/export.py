"""A finished network for other programs: dense, with its zeros in it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lehr.base.errors import LehrError, require
from lehr.base.files import write_beside
from lehr.base.tensors import write_tensors

TOLERANCE = 1e-4  # of the largest output
LARGEST = 1536 * 1024**2  # bytes: torch writes more weights than that into a second file, as protobuf ends at 2 GiB
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ZEROS = (
    "ONNX Runtime stores and multiplies zeros (onnxruntime issue 5578): the file is no smaller and no faster than that of "
    "the dense network; the small file is lehr pack"
)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        path: of the file.
        size: of the file, in bytes.
        difference: the largest between an output of torch and of ONNX Runtime, relative to the largest output; None where
            nothing computes.
    """

    path: Path
    size: int
    difference: float | None = None


def export_safetensors(model: nn.Module, path: str | Path) -> Exported:
    """Write the state dict of a network, dense, as ``.safetensors``, which `safetensors.torch.load_file` reads.

    Args:
        model: a network; tied weights are written under each of their names.
        path: of the file; written beside and renamed.

    Raises:
        LehrError: the file cannot be written, or something in the state dict is no ordinary tensor.

    >>> exported = export_safetensors(nn.Linear(2, 1), "/tmp/_doc_dense.safetensors")
    >>> from safetensors.torch import load_file
    >>> load_file(exported.path)["weight"].shape
    torch.Size([1, 2])
    """
    state = model.state_dict()
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.device.type == "meta":
            raise LehrError(f"{name} of the state dict is no ordinary tensor: a file holds tensors only")
    written = write_tensors(Path(path), state, {"format": "pt"})
    return Exported(written, written.stat().st_size)


def export_onnx(model: nn.Module, path: str | Path, example_inputs: Tensor | Sequence[Tensor]) -> Exported:
    """Write a network as one dense ONNX file, in evaluation mode, fp32, for batches of any size.

    ONNX Runtime stores and multiplies zeros (onnxruntime issue 5578): the file is no smaller and no faster than that of
    the dense network. The small file is that of `lehr.save`.

    ONNX Runtime runs the file on the inputs and on a batch of another size before it is put in its place, and its outputs
    must agree with those of torch within 1e-4 of the largest.

    Args:
        model: a network whose outputs are a tensor, or a tuple or list of them; it is left as it is.
        path: of the file; written beside and renamed.
        example_inputs: what the network takes: a tensor of shape (N, ...), or several with the same N. All sizes but N
            are fixed by them.

    Raises:
        LehrError: onnx, onnxscript or onnxruntime is missing, the network cannot be exported, its batch size cannot vary,
            or the outputs differ.

    >>> exported = export_onnx(nn.Linear(3, 2), "/tmp/_doc.onnx", torch.ones(4, 3))
    >>> exported.size > 0, exported.difference < 1e-4
    (True, True)
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    require(not missing, f"an ONNX file needs {', '.join(missing)}: pip install 'lehr[onnx]'")
    given = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    counts = {len(x) if x.dim() else 0 for x in given}
    if len(counts) != 1 or 0 in counts:
        raise LehrError("the example inputs are not of one batch: give tensors of shape (N, ...) with the same N")
    copy = deepcopy(model).cpu().float().eval()
    size = sum(tensor.nbytes for tensor in [*copy.parameters(), *copy.buffers()])
    require(size <= LARGEST, f"the weights are {size:,} bytes and one ONNX file holds {LARGEST:,}: use safetensors")
    inputs = tuple(x.detach().cpu().float() if x.is_floating_point() else x.detach().cpu() for x in given)
    differences: list[float] = []

    def write(beside: Path) -> None:
        _export(copy, beside, inputs)
        differences.append(_checked(copy, beside, inputs))  # so that no file that is wrong is ever in its place

    written = write_beside(Path(path), write)
    return Exported(written, written.stat().st_size, differences[0])


def _export(model: nn.Module, path: Path, inputs: tuple[Tensor, ...]) -> None:
    twice = tuple(torch.cat([x, x]) for x in inputs)  # torch.export takes a size of 1 for a constant
    batch = torch.export.Dim("batch")
    try:
        with _silent():
            program = torch.onnx.export(
                model,
                twice,
                dynamo=True,
                verbose=False,
                input_names=_names(len(inputs)),
                dynamic_shapes=tuple({0: batch} for _ in inputs),
            )
            assert program is not None
            program.save(str(path), external_data=False)
    except OSError:
        raise  # no space, which is told elsewhere
    except Exception as error:  # the exporter and what it traces raise anything
        raise LehrError(
            f"{type(model).__name__} cannot be exported to ONNX ({_short(error)}): use operations that torch.export knows"
        ) from None


def _checked(model: nn.Module, path: Path, inputs: tuple[Tensor, ...]) -> float:
    """The largest difference, once it is small on the inputs and on a batch of another size."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    other = tuple(x[:1] if len(x) > 1 else torch.cat([x, x]) for x in inputs)
    differences = []
    session: Any = None
    for batch in (inputs, other):
        try:
            session = session or onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            names = [one.name for one in session.get_inputs()]
            # An input that the network does not look at is not in the file.
            feed = {n: x.numpy() for n, x in zip(_names(len(batch)), batch, strict=True) if n in names}
            found = session.run(None, feed)
        except Exception as error:  # onnxruntime has exceptions of its own, none in common
            raise LehrError(
                f"ONNX Runtime does not run {type(model).__name__} on {len(batch[0])} inputs ({_short(error)}): "
                "take the size of a batch from x.shape[0], not from len(x)"
            ) from None
        differences += [_difference(one, value) for one, value in zip(_outputs(model, batch), found, strict=True)]
    worst = float(np.max(differences))  # unlike Python's, which may lose a nan
    if not worst <= TOLERANCE:  # nan is none either
        raise LehrError(
            f"ONNX Runtime and torch differ by {worst:.2g} of the largest output of {type(model).__name__}, which is more "
            f"than {TOLERANCE:g}: the network computes something that ONNX does not, use safetensors"
        )
    return worst


def _names(count: int) -> list[str]:
    return ["input"] if count == 1 else [f"input_{number}" for number in range(count)]


def _outputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    with torch.no_grad():
        outputs = model(*inputs)
    several = [outputs] if isinstance(outputs, Tensor) else outputs
    if not isinstance(several, (list, tuple)) or not all(isinstance(one, Tensor) for one in several):
        raise LehrError(f"{type(model).__name__} gives a {type(outputs).__name__}: wrap it so that it gives tensors")
    return list(several)


def _difference(wanted: Tensor, found: np.ndarray) -> float:
    values = wanted.numpy()
    if values.shape != found.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):  # of infinities, which end as nan
        largest = np.maximum(np.abs(values).max(initial=0), np.finfo(np.float32).tiny)
        return float(np.abs(values - found).max(initial=0) / largest)


@contextmanager
def _silent() -> Iterator[None]:
    """Without the exporter's advice: on torchvision that is not there, its own deprecated calls, graphs that it could not trace.

    Loggers of torch have levels and handlers of their own, so for these seconds all logging rests.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _short(error: Exception) -> str:
    """The first line of the innermost cause: the exporter wraps what happened in pages of its own."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[0].strip() if lines else type(error).__name__)[:200]
