"""What the end of a run writes: scores, counts, what was noticed, the network and its mask."""

from __future__ import annotations

from typing import Any

from torch import nn

from lehr.base.environment import environment
from lehr.base.errors import Diverged, LehrError
from lehr.data import Dataset
from lehr.masks import Mask
from lehr.runs import RunFolder
from lehr.sparsify.method import Method
from lehr.training import Outcome, together
from lehr.training.diagnosis import diagnose_run


def ended_well(folder: RunFolder) -> dict[str, Any]:
    """The result of a run that is done, or the reason why it failed."""
    result = folder.result()
    if "failed" in result:
        raise Diverged(result["failed"])
    return result


def finish(folder: RunFolder, model: nn.Module, result: dict[str, Any], outcome: Outcome) -> None:
    """The first process writes the end of the run, and all see it."""
    if together.rank() == 0:
        folder.finish(model.state_dict(), result, {"seconds": outcome.seconds, "environment": environment()})
    together.meet()


def finish_sparse(
    folder: RunFolder,
    model: nn.Module,
    data: Dataset,
    outcome: Outcome,
    method: Method | None,
    parent_accuracy: float | None = None,
    **more: Any,
) -> None:
    """The end of a run that was tuned: its mask too, and signs of failure.

    Args:
        folder, model, data, outcome: of the run.
        method: whose target the network is in; None for a dense one.
        parent_accuracy: on validation, of what it starts from; None where that is not known.
        more: for the result.

    Raises:
        LehrError: a weight outside the target is not 0.
    """
    result = scores_of(outcome, data) | counts(model, method) | more
    if notes := diagnose_run(folder.metrics(), None if method is None else method.target, parent_accuracy):
        result["notes"] = notes
    if method is not None and together.rank() == 0:
        check_sparse(model, method.target)
        method.target.save(folder.mask)
    finish(folder, model, result, outcome)


def scores_of(outcome: Outcome, data: Dataset) -> dict[str, Any]:
    """The scores of a finished run as plain values; for language with bits per character."""
    result: dict[str, Any] = {"task": data.task}
    for part, scores in (("validation", outcome.validation), ("test", outcome.test)):
        result[part] = scores.as_dict()
        if data.task == "language-modelling":
            result[part]["bits_per_character"] = scores.bits
    return result


def counts(model: nn.Module, method: Method | None) -> dict[str, int]:
    """How many parameters there are, weights that can be pruned and are kept, and numbers that are not 0; without a method all are kept."""
    parameters = list(model.parameters())
    count = sum(p.numel() for p in parameters)
    size, kept = (count, count) if method is None else (method.target.size, method.target.kept)
    return {
        "parameters": count,
        "weights": size,
        "kept": kept,
        "nonzeros": nonzeros(model),
    }


def nonzeros(model: nn.Module) -> int:
    """How many numbers of its parameters are not 0.

    >>> nonzeros(nn.ReLU())
    0
    """
    return sum(int((p != 0).sum()) for p in model.parameters())


def check_sparse(model: nn.Module, mask: Mask) -> None:
    """Raise unless every weight outside the mask is exactly 0: the promise that the file is sparse.

    >>> import torch
    >>> layer = nn.Linear(2, 1)
    >>> check_sparse(layer, Mask({"weight": torch.tensor([[True, True]])}))
    """
    for name, keep in mask.items():
        stray = int((model.get_parameter(name).detach()[~keep] != 0).sum())
        if stray:
            raise LehrError(f"{name} has {stray} weights outside its mask: this is a bug, please report it")
