"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lehr.base.errors import LehrError

Data = Annotated[str, typer.Option(help="digits, mnist, fashion_mnist or cifar10.")]
Model = Annotated[str, typer.Option(help="A built-in network, or path/to/file.py:factory.")]
Seed = Annotated[int, typer.Option(help="Of initialisation, data order and draws.")]
BatchSize = Annotated[int, typer.Option(help="Examples in a batch.")]
Rate = Annotated[float, typer.Option("--lr", help="Peak learning rate.")]
Schedule = Annotated[str, typer.Option(help="constant, one-cycle, multistep, cosine or linear (to zero).")]
Optimizer = Annotated[str, typer.Option(help="sgd (Nesterov), adam or adamw.")]
Momentum = Annotated[float, typer.Option(help="SGD's momentum, Adam's beta1.")]
WeightDecay = Annotated[float, typer.Option(help="Of matrices and filters; biases and norms have none.")]
Accumulate = Annotated[int, typer.Option(help="Batches to an optimizer step.")]
Precision = Annotated[str, typer.Option(help="auto, fp32 or bf16 (autocast).")]
Threads = Annotated[int, typer.Option(help="Threads of one run; 0 is all cores. Same bits need the same number.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training set.")]
Limit = Annotated[int | None, typer.Option(help="Train on the first examples only, for a quick look.")]
Out = Annotated[Path, typer.Option(help="Folder for the run; new or empty.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out where it stopped.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


def numbers(text: str, name: str) -> tuple[float, ...]:
    """Comma-separated numbers.

    >>> numbers("0.9, 0.98", "sparsity")
    (0.9, 0.98)
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise LehrError(f"{name} is {text!r}: give numbers separated by commas, such as 0.9,0.98") from None
    if len(set(values)) < len(values):
        raise LehrError(f"{name} is {text!r}: a value is given twice, leave one out")
    return values
