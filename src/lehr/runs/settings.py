"""What a run is: frozen, validated settings, and the hash that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lehr.base.errors import LehrError, check_fraction, unknown

LearningRate = Literal["constant", "one-cycle", "multistep", "cosine", "linear"]
OptimizerName = Literal["sgd", "adam", "adamw"]
Precision = Literal["auto", "fp32", "bf16"]
S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """What every training run has; two runs with the same settings give the same bits on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    model: str
    epochs: int = Field(ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)
    batch_size: int = Field(default=128, ge=1)
    optimizer: OptimizerName = "sgd"
    lr: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    schedule: LearningRate = "one-cycle"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0, allow_inf_nan=False)
    accumulate: int = Field(default=1, ge=1)
    precision: Precision = "auto"
    threads: int = Field(default=0, ge=0)  # 0 is torch's own choice, which `settled` writes down
    limit: int | None = Field(default=None, ge=1)

    @property
    def digest(self) -> str:
        """Twelve hexadecimal characters that name these settings."""
        text = json.dumps({"kind": type(self).__name__, **self.model_dump()}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def settled(self: S, threads: int) -> S:
        """The same with the number of threads that 0 stands for: other threads, other bits."""
        return self if self.threads else self.model_copy(update={"threads": threads})


class TrainSettings(Settings):
    """A dense network, trained from its initialisation."""


class TuneSettings(Settings):
    """A subnetwork of a trained network, tuned by a method."""

    parent: str  # the folder of the run whose network is taken
    parent_digest: str  # of its weights, so that another parent is another run
    method: str
    sparsity: float
    score: str = "magnitude"
    scope: Literal["global", "layer"] = "global"
    distribution: Literal["uniform", "erk"] = "uniform"
    target: Literal["fixed", "moving"] | None = None  # None is the method's own default
    anneal: str = "0.5"  # of the run, or "500it", "2ep"
    tau: float = Field(default=0.5, ge=0, le=1)
    tau_schedule: str | None = None
    all_weights: bool = False
    realise: Literal["sample", "mean"] = "sample"
    inactive: Literal["hold", "move"] = "hold"
    reselect_every: int | None = Field(default=None, ge=1)

    @field_validator("sparsity")
    @classmethod
    def _fraction(cls, value: float) -> float:
        return check_fraction("sparsity", value)

    @property
    def digest(self) -> str:
        text = json.dumps({"kind": type(self).__name__, **self.model_dump(exclude={"parent"})}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


M = TypeVar("M", bound=BaseModel)


def validated(kind: type[M], values: Mapping[str, Any]) -> M:
    """Settings from plain values, with one clear sentence where they are wrong.

    >>> validated(TrainSettings, {"data": "digits", "model": "lenet5", "epochs": -1})
    Traceback (most recent call last):
        ...
    lehr.base.errors.LehrError: epochs is -1: it should be greater than or equal to 0
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, LehrError):
            raise cause from None
        if first["type"] == "extra_forbidden":
            raise unknown("setting", name, kind.model_fields) from None
        if first["type"] == "missing":
            raise LehrError(f"{name} is missing: give it a value") from None
        if first["type"] == "literal_error":
            choices = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            raise unknown(name, first["input"], choices) from None
        text = first["msg"][0].lower() + first["msg"][1:]
        text = text.replace("input should", "it should")
        raise LehrError(f"{name} is {first['input']!r}: {text}") from None
