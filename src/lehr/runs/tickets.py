"""Settings of a level of a lottery ticket."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from lehr.base.errors import LehrError
from lehr.masks.granules import n_of_m_sparsity
from lehr.runs.settings import TuneSettings

# What a run that is tuned may set, and one that is rewound has no use for.
UNUSED = (
    "distill", "distill_temperature", "smooth", "smooth_for", "label_smoothing", "softness", "skip", "probe", "restart",
)  # fmt: skip


class TicketSettings(TuneSettings):
    """A subnetwork found by iterative pruning, trained again from where its weights were at an earlier step.

    `start` is that step, k; `sparsity` follows from `level` and `rate`; level 0 is the dense network from step k on, once more.
    """

    method: str = "one-shot"
    sparsity: float = 0.0
    level: int = Field(ge=0, strict=True)  # how often something has been pruned
    rate: float = Field(default=0.2, gt=0, lt=1, strict=True)  # share of the remaining weights that goes at every level
    rewind: Literal["weights", "rate", "no"] = (
        "weights"  # what goes back to step k beside the data: both, the rate, nothing
    )
    control: Literal["none", "shuffle", "invert"] = "none"
    reinit: int | None = Field(default=None, ge=0, lt=2**63)  # weights anew from this seed instead of those of step k

    @model_validator(mode="before")
    @classmethod
    def _sparsity_of_the_level(cls, values: Any) -> Any:
        if isinstance(values, dict):
            level, rate = values.get("level"), values.get("rate", 0.2)
            sparsity = 0.0
            if isinstance(level, int) and level >= 0 and isinstance(rate, (int, float)) and 0 < rate < 1:
                sparsity = 1.0 - (1.0 - float(rate)) ** level
            given = values.get("sparsity", sparsity)
            if given not in (sparsity, 0.0):
                raise LehrError(f"sparsity is {given} and that of a ticket follows from level and rate: leave it out")
            if n_of_m_sparsity(str(values.get("granularity", "unstructured"))) is not None:
                raise LehrError(
                    f"granularity is {values['granularity']}, which is sparse by itself: a ticket goes level by level"
                )
            if sparsity == 1.0:
                raise LehrError(f"level {level} at a rate of {rate} leaves nothing: lower the level")
            values = {**values, "sparsity": sparsity}
        return values

    @model_validator(mode="after")
    def _nothing_of_no_use(self) -> TicketSettings:
        for name in UNUSED:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise LehrError(f"{name} is {getattr(self, name)!r}, and a ticket has no use for it: leave it out")
        if not self.level and (self.control != "none" or self.method != "one-shot" or self.rewind != "weights"):
            raise LehrError(
                f"level is 0, the dense network once more, with control {self.control}, method {self.method} and rewind {self.rewind}: "
                "those are of a mask, leave them out or give a level from 1"
            )
        for name, value in (("method", "dense"), ("score", "learned-mask"), ("schedule", "allr")):
            if getattr(self, name) == value:
                raise LehrError(f"{name} is {value}, which a ticket cannot have: choose another")
        return self
