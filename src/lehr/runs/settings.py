"""What a run is: frozen, validated settings, and the hash that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lehr.base.errors import LehrError, unknown
from lehr.base.steps import parse_length, spelled
from lehr.masks.granules import check_granularity
from lehr.masks.selection import given_sparsity

LearningRate = Literal["constant", "one-cycle", "multistep", "cosine", "triangular", "linear", "llr", "allr"]
OptimizerName = Literal["sgd", "adam", "adamw"]
Precision = Literal["auto", "fp32", "bf16"]


def _as_text(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return repr(value).removesuffix(".0") if number else value  # YAML reads 0.5 as a number


def _parts(value: Any) -> Any:
    return (
        tuple(part.strip() for part in value.replace("+", ",").split(",") if part.strip())
        if isinstance(value, str)
        else value
    )


Length = Annotated[str, BeforeValidator(_as_text)]
DROPS = ("0.5", "0.75")
RISING = ("one-cycle", "triangular", "llr", "allr")  # schedules that warm up by themselves
UNTOLD = ("keep", "validate_every")  # what is kept and looked at on the way: no bit of the network goes by it
Smoothed = Literal["labels", "activations", "skips"]
S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """What every training run has; two runs with the same settings give the same bits on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    model: str
    epochs: int = Field(ge=0)
    seed: int = Field(default=0, ge=0, lt=2**63)
    order: int | None = Field(default=None, ge=0, lt=2**63)  # seed of the order of the data; None is `seed`
    start: Length = "0"  # where on the schedule of rates, and in the data, the run begins: "500it", "2ep"
    stop: Length = "1"  # and where it leaves off
    batch_size: int = Field(default=128, ge=1)
    optimizer: OptimizerName = "sgd"
    lr: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    schedule: LearningRate = "one-cycle"
    warmup: Length = "0"  # of the schedule, or "500it", "2ep": the rate rises from 0 in a straight line
    drops: Annotated[tuple[Length, ...], BeforeValidator(_parts)] = DROPS  # where `multistep` takes a tenth
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0, allow_inf_nan=False)
    accumulate: int = Field(default=1, ge=1)
    precision: Precision = "auto"
    threads: int = Field(default=0, ge=0)  # 0 is torch's own choice, which `settled` writes down
    limit: int | None = Field(default=None, ge=1)
    image_size: int | None = Field(default=None, ge=1)  # pixels; None leaves images as they are
    augment: bool | None = None  # None is what is usual for the data set
    context: int | None = Field(default=None, ge=1)  # characters that a language model sees at once
    average: float = Field(default=0.0, ge=0, lt=1)  # the last part of the run over which weights are averaged
    bn_batches: int | None = Field(default=None, ge=0)  # for batch-norm statistics anew at the end; None: if averaged
    validate_every: int = Field(default=1, ge=1)  # epochs from one look at the validation set to the next
    parent: str | None = None  # the run folder or the file whose weights are taken
    parent_digest: str | None = None  # of those weights, so that another parent is another run

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, dict) else ():
            if (
                isinstance(value, bool)
                and name in cls.model_fields
                and "bool" not in str(cls.model_fields[name].annotation)
            ):
                raise LehrError(f"{name} is {str(value).lower()}: give a number or a name, not yes or no")
        return values

    @model_validator(mode="after")
    def _one_way_up_and_down(self) -> Settings:
        for length in (self.warmup, *self.drops):
            parse_length(length, steps_per_epoch=1, total=1)  # raises where it is none
        if spelled(self.warmup) != "0" and self.schedule in RISING:
            raise LehrError(f"warmup is {self.warmup} and the schedule {self.schedule} rises by itself: leave one out")
        if self.drops != DROPS and self.schedule != "multistep":
            raise LehrError(
                f"drops is {', '.join(self.drops)} and the schedule {self.schedule} has none: use multistep"
            )
        return self

    @property
    def draw_seed(self) -> int:
        """The seed by which masks are chosen."""
        return self.seed

    @property
    def path_seed(self) -> int:
        """The seed of what is drawn on the way to a mask."""
        return self.draw_seed

    @property
    def order_seed(self) -> int:
        """The seed of the order of the data, and of its augmentation."""
        return self.seed if self.order is None else self.order

    @property
    def digest(self) -> str:
        """Twelve hexadecimal characters that name these settings, wherever the parent lies and whatever is kept or looked at on the way.

        What is at its default is left out, so that a new setting, whose default is what was done before,
        leaves the names of old runs as they are.
        """
        values = self.model_dump(exclude={"parent", *UNTOLD}, exclude_defaults=True)
        text = json.dumps({"kind": type(self).__name__, **values}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def settled(self: S, threads: int) -> S:
        """The same with the number of threads that 0 stands for: other threads, other bits."""
        return self if self.threads else self.model_copy(update={"threads": threads})


class TrainSettings(Settings):
    """A dense network, trained from its initialisation."""

    init: str = "default"  # how weights begin, see `lehr.models.initialise`
    keep: tuple[Length, ...] = ()  # steps whose weights stay in the folder, for tickets that go back to them
    learn_mask: float = Field(default=0.0, ge=0, allow_inf_nan=False)  # pressure on a learned mask; 0 is none
    mask_polarise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    mask_warm_up: Length = "0"  # of the run, or "500it", "2ep"
    mask_ramp: Length = "0"
    mask_floor: float = Field(default=0.0, ge=0, lt=1)
    mask_straight_through: bool = False
    mask_lr: float = Field(default=0.02, ge=0, allow_inf_nan=False)


class TuneSettings(Settings):
    """A subnetwork of a trained network, tuned by a method."""

    parent: str
    parent_digest: str
    parent_epochs: int | None = None  # for how long the parent was trained, where that is known
    method: str
    sparsity: float
    granularity: str = "unstructured"
    score: str = "magnitude"
    scope: Literal["global", "layer"] = "global"
    distribution: Literal["uniform", "erk"] = "uniform"
    target_modules: tuple[str, ...] | str | None = None
    exclude_modules: tuple[str, ...] | str | None = None
    target: Literal["fixed", "moving"] | None = None  # None is the method's own default
    anneal: Length = "0.5"  # of the run, or "500it", "2ep"
    tau: float = Field(default=0.5, ge=0, le=1)
    tau_schedule: str | None = None
    all_weights: bool = False
    tau_by_layer: bool = False  # a layer's temperature goes by its density
    realise: Literal["sample", "mean"] = "sample"
    inactive: Literal["hold", "move"] = "hold"
    reselect_every: int | None = Field(default=None, ge=1)
    redraw_every: int = Field(default=1, ge=1)  # optimizer steps that share a draw
    drop: float = Field(
        default=0.3, gt=0, lt=1
    )  # share of the weights that the first change of `set` or `rigl` takes out
    cycles: int = Field(default=4, ge=1)  # how often `ac-dc` is dense
    restart: bool = False  # the learning-rate schedule begins anew when annealing ends
    probe: bool = False  # measure along the way, see `lehr.training.probe`
    smooth: Annotated[tuple[Smoothed, ...], BeforeValidator(_parts)] = ()  # "labels+skips", see `lehr.Smoothing`
    smooth_for: Length = "0.5"  # of the run, or "500it", "2ep"
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    softness: float = Field(default=1.0, gt=0, le=50)
    skip: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    distill: float = Field(default=0.0, ge=0, le=1)  # the parent's share in the loss
    distill_temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _sparsity_of_n_of_m(cls, values: Any) -> Any:
        if isinstance(values, dict):
            granularity = values.get("granularity", "unstructured")
            if not isinstance(granularity, str):
                raise LehrError(
                    f'granularity is {granularity!r}: write it in quotes, "2:4", which YAML takes for a number'
                )
            granularity = check_granularity(granularity)
            values = {**values, "granularity": granularity}
            if values.get("method") == "dense" and values.get("sparsity") is None:
                values["sparsity"] = 0.0  # the control leaves nothing out
            if not isinstance(values.get("sparsity"), str):
                values["sparsity"] = given_sparsity(values.get("sparsity"), granularity)
        return values


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
        name = ".".join(part for part in first["loc"] if isinstance(part, str)) or "settings"
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
