"""`compare`: a small study, methods by sparsities from the same parents at the same budget."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError
from lehr.masks.granules import n_of_m_sparsity
from lehr.recipes.method import DENSE
from lehr.study.definition import Study
from lehr.study.file import study_of
from lehr.study.kinds import kinds

SPARSITIES = (0.9, 0.98)  # where none are named


def comparison(
    methods: Sequence[str],
    *,
    data: str,
    model: str,
    sparsity: Sequence[float] | None = None,
    seeds: int = 3,
    tune_lr: Sequence[float] = (0.1,),
    lr_seeds: int | None = None,
    **settings: Any,
) -> Study:
    """The study that compares methods, beside the dense network tuned for as long.

    Args:
        methods: each with its options, such as ``temperature-annealing:target=moving:tau=1``.
        data, model: what is trained.
        sparsity: fractions; by default those of N:M, or 0.9 and 0.98.
        seeds: how many; 0, 1, 2, ...
        tune_lr: the menu of tuning rates; validation chooses one for each row.
        lr_seeds: the menu is tried on so many seeds; None for all.
        settings: any others, by their names in a study file.

    Raises:
        LehrError: a value is given twice, or there are no seeds.

    >>> comparison(["gradual"], data="digits", model="lenet5", granularity="2:4").grids[0]["sparsity"]
    [0.5]
    """
    own = n_of_m_sparsity(str(settings.get("granularity", "")))
    sparsity = list(sparsity or (SPARSITIES if own is None else (own,)))
    for name, listed in (("methods", methods), ("sparsity", sparsity), ("tune-lrs", tune_lr)):
        if len(set(listed)) < len(listed):
            raise LehrError(f"{name} lists a value twice ({', '.join(map(str, listed))}): leave one out")
    for name, count in (("seeds", seeds), ("lr-seeds", 1 if lr_seeds is None else lr_seeds)):
        if count < 1:
            raise LehrError(f"{name} is {count}: give at least 1")
    values: dict[str, Any] = {
        **settings,
        "data": data,
        "model": model,
        "sparsity": sparsity,
        "method": [DENSE, *methods],
        "seed": list(range(seeds)),
        "tune_lr": list(tune_lr),
    }
    if lr_seeds is not None:
        values["choose_seeds"] = list(range(min(lr_seeds, seeds)))
    return study_of(values, f"{Path(model).stem} on {data}")


def default_folder(study: Study) -> Path:
    """Where a study goes that was given no folder: the same one each time, with more levels, and whatever the number of threads."""
    left = (kinds[study.kind].levels, "threads")
    grids = tuple({name: value for name, value in grid.items() if name not in left} for grid in study.grids)
    text = study.model_copy(update={"grids": grids}).model_dump_json()
    name = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return Path("runs") / f"{study.name}-{name}"
