"""`ensemble grow`: children of one parent as a small study."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError, require, unknown
from lehr.base.files import write_beside
from lehr.masks.granules import n_of_m_sparsity
from lehr.recipes.parent import DATA, parent_settings
from lehr.runs import RunFolder, TrainSettings
from lehr.runs.digest import weights_digest
from lehr.study.definition import Study
from lehr.study.file import study_of
from lehr.study.folder import begin
from lehr.study.kinds import FILLED, SHARED
from lehr.study.plan import plan

PAIRS = ("anti-random", "random", "partition", "magnitude")
OF_PARENT = ("data", "model", "limit", "image_size", "augment", "optimizer", "batch_size", "precision", "threads")
HALF = 0.5  # the sparsity of children that are not dealt


def family(
    *, pairs: str = "anti-random", children: int = 6, parts: int = 2, seeds: Sequence[int] = (0,), **settings: Any
) -> Study:
    """The study of an ensemble out of one network (Prune and Tune, 2202.11782; with annealing, 2401.08830).

    Args:
        pairs: how children are chosen: ``anti-random``, a random half and its complement in turn; ``random``; ``partition``, parts that are dealt; ``magnitude``, all the same.
        children: how many.
        parts: of a partition; children beyond them are of another deal.
        seeds: of parents; each has a family.
        settings: any others, by their names in a study file of children; `sparsity` of random and magnitude ones is a half unless it is given.

    Raises:
        LehrError: the number of children does not fill pairs or parts, or is out of range.

    >>> study = family(data="digits", model="lenet5", children=4)
    >>> study.kind, study.grids[0]["child"]
    ('child', [0, 1, 2, 3])
    """
    if pairs not in PAIRS:
        raise unknown("pairing", pairs, PAIRS)
    require(children >= 1, f"children is {children}: give at least 1")
    require(parts == 2 or pairs == "partition", f"parts is {parts} and {pairs} has none: leave it out")
    dealt = {"anti-random": 2, "partition": parts}.get(pairs)
    if dealt is None and n_of_m_sparsity(str(settings.get("granularity"))) is None:
        settings = {"sparsity": HALF, **settings}
    values: dict[str, Any] = {**settings, "family": pairs, "seed": list(seeds), "child": list(range(children))}
    if pairs == "partition":
        values["parts"] = parts
    if dealt is not None and children % dealt:
        raise LehrError(f"children is {children} and {pairs} makes them by {dealt}: give a multiple of it")
    about = f"{Path(str(values['model'])).stem} on {values['data']}"
    return study_of({**values, "kind": "child", "row": pairs, "against": pairs}, f"{pairs} children of {about}")


def parents(
    run: str | Path | None, given: Mapping[str, Any], *, epochs: int | None, lr: float | None, seeds: int | None
) -> dict[str, Any]:
    """What a family grows from, as settings of its study: a finished dense run, or networks that are trained for it.

    Args:
        run: the folder of one; None where parents are trained.
        given: settings that were asked for; some are the run's own.
        epochs, lr: of parents that are trained, 20 and 0.1 unless given.
        seeds: how many of them, 1 unless given.

    Raises:
        LehrError: a setting is given that the run has, or there is neither a run nor data and a model.
    """
    asked = {"parent_epochs": epochs, "parent_lr": lr, "seeds": seeds}
    if run is None:
        if "data" not in given or "model" not in given:
            raise LehrError("nothing says what to grow from: give --from, or --data and --model")
        usual: dict[str, Any] = {"epochs": 20, "lr": 0.1, "seeds": 1}
        own = usual | {name.removeprefix("parent_"): value for name, value in asked.items() if value is not None}
        require(own["seeds"] >= 1, f"seeds is {own['seeds']}: give at least 1")
        return {**own, "seeds": range(own["seeds"])}
    clash = [name for name in OF_PARENT if name in given] + [name for name in asked if asked[name] is not None]
    if clash:
        raise LehrError(
            f"{', '.join(clash)} is given and the run in {run} has its own: leave it out, or leave --from out"
        )
    return settings_from(run)


def settings_from(run: str | Path) -> dict[str, Any]:
    """The settings of a dense run as a study of its children has them.

    Raises:
        LehrError: it is no finished dense run.
    """
    base = parent_settings(run)
    dense = isinstance(base, TrainSettings) and base.parent is None and base.learn_mask == 0 and RunFolder(run).done
    require(dense, f"{run} is no finished dense run from its initialisation: children grow from one, see lehr train")
    assert isinstance(base, TrainSettings)
    given = base.model_dump(exclude_defaults=True, exclude={*FILLED, "seed"})
    plain = {name: value for name, value in given.items() if name in SHARED}
    own = {f"train_{name}": value for name, value in given.items() if name not in SHARED}
    return (
        plain
        | own
        | {
            "seeds": [base.seed],
            **{name: getattr(base, name) for name in DATA[:2]},
        }
    )


def adopt(run: str | Path, study: Study, out: Path) -> None:
    """Put a copy of a finished run where the study would train the same one.

    Raises:
        LehrError: the study has no such run: its settings differ; or there is one of other weights.
    """
    folder = RunFolder(run)
    wanted = folder.settings().digest
    begin(study, out)
    for own in plan(study):
        if own.kind == "train" and own.settings.digest == wanted:
            there = own.path(out)
            known = RunFolder(there)
            require(
                not known.model.is_file() or weights_digest(known.weights()) == weights_digest(folder.weights()),
                f"{out} has a family of {run} with other weights: give another --out",
            )
            if not known.done:
                result_last = sorted(folder.path.iterdir(), key=lambda file: file.name == "result.json")  # it says done
                for file in result_last:
                    if file.is_file() and not file.name.startswith("."):
                        write_beside(there / file.name, lambda beside, file=file: shutil.copyfile(file, beside))  # type: ignore[misc]
            return
    raise LehrError(f"{run} has other settings than the parent in {out}: give another --out")
