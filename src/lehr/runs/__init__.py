"""Settings, their hash, run folders, checkpoints and metrics."""

from lehr.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lehr.runs.folder import RunFolder
from lehr.runs.settings import Settings, TrainSettings, TuneSettings, validated

__all__ = [
    "Checkpoint",
    "RunFolder",
    "Settings",
    "TrainSettings",
    "TuneSettings",
    "load_checkpoint",
    "save_checkpoint",
    "validated",
]
