"""Settings, their hash, run folders, checkpoints and metrics."""

from lehr.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lehr.runs.folder import RunFolder
from lehr.runs.settings import Settings, TicketSettings, TrainSettings, TuneSettings, validated

__all__ = [
    "Checkpoint",
    "RunFolder",
    "Settings",
    "TicketSettings",
    "TrainSettings",
    "TuneSettings",
    "load_checkpoint",
    "save_checkpoint",
    "validated",
]
