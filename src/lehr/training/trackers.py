"""TensorBoard, MLflow and Weights & Biases, through Accelerate's trackers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from accelerate import Accelerator

from lehr.base.errors import LehrError, one_line, unknown
from lehr.runs import RunFolder, Settings
from lehr.training import together

NAMES = ("tensorboard", "mlflow", "wandb")


def check_trackers(names: Sequence[str]) -> None:
    """Raise unless every tracker is known and installed.

    >>> check_trackers(["tensorbord"])
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: there is no tracker 'tensorbord': did you mean 'tensorboard'? (trackers: mlflow, tensorboard, wandb)
    """
    from accelerate.utils import is_mlflow_available, is_tensorboard_available, is_wandb_available

    available = {"tensorboard": is_tensorboard_available, "mlflow": is_mlflow_available, "wandb": is_wandb_available}
    for name in names:
        if name not in available:
            raise unknown("tracker", name, NAMES)
        if not available[name]():
            raise LehrError(f"the tracker {name} is not installed: pip install {name}")


@contextmanager
def tracked(settings: Settings, folder: RunFolder, trackers: Sequence[str]) -> Iterator[Accelerator]:
    """An Accelerator for the settings that logs to these trackers, below ``trackers/`` of the run folder."""
    check_trackers(trackers)
    if together.world() > 1:
        together.state()
    where = folder.path / "trackers"
    accelerator = Accelerator(
        mixed_precision="no",  # autocast is entered by the loop
        gradient_accumulation_steps=settings.accumulate,
        log_with=list(trackers) or None,
        project_dir=str(where) if trackers else None,
    )
    if not trackers:
        yield accelerator
        return
    if accelerator.is_main_process:
        where.mkdir(parents=True, exist_ok=True)
    config = {key: value if isinstance(value, (int, float, str, bool)) else str(value) for key, value in settings}
    # Without an address of the user's own, MLflow and W&B write into the run folder too.
    options = {"wandb": {"dir": str(where)}}
    if "mlflow" in trackers:
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{where.resolve()}/mlflow.db")
    try:
        accelerator.init_trackers("lehr", config, {name: options.get(name, {}) for name in trackers})
    except Exception as error:  # each has its own, of accounts and addresses
        raise LehrError(
            f"the tracker {' or '.join(trackers)} cannot begin ({one_line(error)}): set it up, or leave it out"
        ) from error
    try:
        yield accelerator
    finally:
        for tracker in accelerator.trackers:  # end_training() would also end the group of processes
            tracker.finish()
