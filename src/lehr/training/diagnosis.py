"""The failure signs that the papers name, told in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lehr.masks import Mask

FEW = 0.1  # of a layer's filters or heads
COLLAPSE = 0.5  # of the parent's accuracy lost over the first epoch


def diagnose_run(metrics: Sequence[Mapping[str, Any]], target: Mask | None, parent_accuracy: float | None) -> list[str]:
    """What one run shows: a collapse in the first epoch, and layers about to empty.

    Args:
        metrics: the lines of the run, one an epoch.
        target: the final mask; None for a dense run.
        parent_accuracy: on validation, in [0, 1]; None where it is not known.

    >>> diagnose_run([{"validation_accuracy": 0.2}, {"validation_accuracy": 0.7}], None, 0.9)
    ['the accuracy fell from 90.0 % to 20.0 % in the first epoch: the network was cut or annealed too fast or too hot; anneal for longer, lower tau, or try another learning rate']
    """
    notes = []
    if metrics and parent_accuracy:
        first = metrics[0]["validation_accuracy"]
        if first is not None and first < (1.0 - COLLAPSE) * parent_accuracy:
            notes.append(
                f"the accuracy fell from {100 * parent_accuracy:.1f} % to {100 * first:.1f} % in the first epoch: the "
                "network was cut or annealed too fast or too hot; anneal for longer, lower tau, or try another learning rate"
            )
    return notes + ([] if target is None else emptying(target))


def emptying(mask: Mask) -> list[str]:
    """Layers that keep fewer weights than they have outputs, so that some outputs are constant for certain.

    Of filters and heads, which are cut whole on purpose: layers that keep fewer than one in ten.

    >>> import torch
    >>> thin = torch.zeros(4, 3, dtype=torch.bool); thin[0, 0] = True
    >>> emptying(Mask({"head.weight": thin}))
    ['head.weight keeps 1 weight for 4 outputs: the layer is about to empty; lower the sparsity, leave the layer out, or use --scope layer']
    """
    notes = []
    for row in mask.layers():
        outputs = row.shape[0] if row.shape else 1
        cut = mask.granules(row.name)
        if cut.size > 1:
            granules, kept = cut.count, int((cut.fold(mask[row.name].float()) > 0).sum())
            if kept < granules * FEW:
                notes.append(
                    f"{row.name} keeps {kept} of {granules} granules: the layer is about to empty; lower the sparsity, "
                    "leave the layer out, or use --scope layer"
                )
        elif row.kept < outputs:
            weights = "1 weight" if row.kept == 1 else f"{row.kept} weights"
            notes.append(
                f"{row.name} keeps {weights} for {outputs} outputs: the layer is about to empty; lower the sparsity, "
                "leave the layer out, or use --scope layer"
            )
    return notes
