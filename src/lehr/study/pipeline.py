"""`pipeline`: initialisation, a learned mask, pruning and smoothing as one small study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lehr import data as datasets
from lehr.base.errors import LehrError, require, unknown
from lehr.recipes.choice import LEARNED
from lehr.recipes.fresh import fresh_model
from lehr.recipes.method import DENSE, SMOOTHING
from lehr.recipes.parent import DATA
from lehr.smoothing import PARTS, Smoothing
from lehr.study.definition import Study
from lehr.study.file import study_of

STAGES = ("zero", "mask", "magnitude", "smooth")
NAME = "pipeline"
PRESSURE = 3.0  # the pipeline's best from 10 % of the weights to 1 %, on MNIST
WARM_UP, RAMP = "0.25", "0.5"  # of the dense run: without them a mask keeps little but what ZerO had begun with


def pipeline(
    stages: Sequence[str] = STAGES,
    *,
    data: str,
    model: str,
    sparsity: Sequence[float],
    ablate: bool = False,
    seeds: int = 1,
    tune_lr: Sequence[float] = (0.1,),
    method: str = "one-shot",
    smooth: Sequence[str] | None = None,
    **settings: Any,
) -> Study:
    """The study of an end-to-end pipeline (after 2312.01653, whose schedules are not known to us: these are ours).

    A dense run begins with ZerO, orthogonal where layers widen (`zero`), and learns a mask with its weights (`mask`). Then weights are chosen, by ``|w m|`` with
    `mask` and `magnitude`, by ``|w|`` with `magnitude` alone, by m with `mask` alone, and tuned by `method`, with labels,
    activations and skips smoothed for the first half (`smooth`). Beside it stand the dense network and, with `ablate`, the pipeline without
    each stage, magnitude alone, and each other stage with magnitude alone; all with as many epochs in all.

    Args:
        stages: any of ``zero``, ``mask``, ``magnitude``, ``smooth``.
        data, model: what is trained.
        sparsity: fractions in [0, 1).
        ablate: whether every stage is left out, and stands alone, once.
        seeds: how many; 0, 1, 2, ...
        tune_lr: the menu of tuning rates; validation chooses one for each row.
        method: of the tuning, with its options.
        smooth: parts of smoothing; None for those that the network has a use for.
        settings: any others, by their names in a study file.

    Raises:
        LehrError: a stage does not exist, nothing would choose the weights, or the network lacks what is to be smoothed.

    >>> study = pipeline(data="digits", model="lenet_300_100", sparsity=[0.99])
    >>> [grid["row"] for grid in study.grids], study.grids[1]["smooth"]
    (['dense', 'pipeline'], 'labels+activations')
    """
    for stage in stages:
        if stage not in STAGES:
            raise unknown("stage of a pipeline", stage, STAGES)
    require(len(set(stages)) == len(stages), f"the stages are {', '.join(stages)}: name each once")
    chooses = "nothing chooses the weights: add magnitude, or mask, to the stages"
    require("mask" in stages or "magnitude" in stages, chooses)
    require(seeds >= 1, f"seeds is {seeds}: give at least 1")
    require(
        smooth is None or "smooth" in stages, "smooth is given and the stages leave smoothing out: add smooth to them"
    )
    require(
        not method.startswith(DENSE), "method is dense, and a pipeline prunes: leave it out, the dense row is there"
    )
    kept = {name: value for name, value in settings.items() if name in DATA}
    parts = _parts(data, model, smooth, kept) if "smooth" in stages else ()
    rows: list[tuple[str, tuple[str, ...]]] = [(NAME, tuple(stages))]
    if ablate:
        rows += [(f"without {stage}", tuple(s for s in stages if s != stage)) for stage in stages]
        rows += [("magnitude alone", ("magnitude",))]
        rows += [(f"{stage} and magnitude", (stage, "magnitude")) for stage in stages if stage != "magnitude"]
    common = {
        "data": data, "model": model, "sparsity": list(sparsity), "seed": list(range(seeds)), "tune_lr": list(tune_lr),
    }  # fmt: skip
    grids: list[dict[str, Any]] = [{"row": "dense", "method": DENSE}]
    seen: set[frozenset[str]] = set()
    for name, own in rows:
        if not {"mask", "magnitude"} & set(own) or frozenset(own) in seen:
            continue
        seen.add(frozenset(own))
        grids.append({"row": name, "method": method, **_settings(own, parts, settings)})
    values = {
        **settings, **common, "alike": "epochs",
        "against": "magnitude alone" if any(grid["row"] == "magnitude alone" for grid in grids) else "one-shot", "grids": grids,
    }  # fmt: skip
    for name in [key for key in settings if key in ("learn_mask", *SMOOTHING) or key.startswith("mask_")]:
        stage = "smooth" if name in SMOOTHING else "mask"
        require(
            stage in stages, f"{name} is {settings[name]} and the stages leave {stage} out: add it, or leave {name} out"
        )
        del values[name]  # the rows that have a use for it have it
    return study_of(values, f"pipeline of {Path(model).stem} on {data}")


def _settings(stages: Sequence[str], parts: Sequence[str], settings: dict[str, Any]) -> dict[str, Any]:
    """What stages mean in a study file."""
    values: dict[str, Any] = {}
    if "zero" in stages:
        values["init"] = "zero-orthogonal"
    if "mask" in stages:
        own = {name: value for name, value in settings.items() if name == "learn_mask" or name.startswith("mask_")}
        values |= {"learn_mask": PRESSURE, "mask_warm_up": WARM_UP, "mask_ramp": RAMP} | own
        require(values["learn_mask"] > 0, "learn_mask is 0, which is no mask: leave mask out of the stages")
        if "magnitude" not in stages:
            values["score"] = LEARNED
    if "smooth" in stages and parts:
        values["smooth"] = "+".join(parts)
        values |= {name: settings[name] for name in SMOOTHING if name in settings}
    return values


def _parts(data: str, model: str, asked: Sequence[str] | None, settings: dict[str, Any]) -> tuple[str, ...]:
    """What can be smoothed in this network; what was asked for must be there."""
    own = datasets.load(data, **settings)
    network = fresh_model(model, own, 0)
    found = []
    for part in PARTS if asked is None else asked:
        try:
            Smoothing(1, (part,)).check(network, own.blank(2))
        except LehrError:
            if asked is not None:
                raise
        else:
            found.append(part)
    return tuple(found)
