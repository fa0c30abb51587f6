"""Settings, their hash, run folders, checkpoints and metrics."""

from lehr.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lehr.runs.folder import RunFolder
from lehr.runs.members import ChildSettings, CycleSettings
from lehr.runs.settings import Settings, TrainSettings, TuneSettings, validated
from lehr.runs.tickets import TicketSettings

__all__ = [
    "Checkpoint",
    "ChildSettings",
    "CycleSettings",
    "RunFolder",
    "Settings",
    "TicketSettings",
    "TrainSettings",
    "TuneSettings",
    "load_checkpoint",
    "save_checkpoint",
    "validated",
]
