"""Settings of the members of an ensemble."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from lehr.base.errors import LehrError
from lehr.masks.granules import n_of_m_sparsity
from lehr.runs.settings import TuneSettings

APART = 1000  # between the seeds of the members of an ensemble
SIBLING = 10**9  # and between those by which the members of one deal are drawn on the way


class ChildSettings(TuneSettings):
    """A member of an ensemble: a subnetwork of the parent, chosen to be unlike its siblings, and tuned.

    Members see their data in orders of their own. The masks of an anti-random pair, and of a partition, are dealt from one seed; what is drawn on the
    way to them is each member's own, unless the pair is to be a complement at every draw.
    """

    method: str = "one-shot"
    sparsity: float = 0.5
    scope: Literal["global", "layer"] = "layer"
    child: int = Field(default=0, ge=0, strict=True)  # which one
    family: Literal["anti-random", "random", "partition", "magnitude"] = "anti-random"
    parts: int = Field(default=2, ge=2, strict=True)  # of a partition
    complement: bool = False  # whether a pair stays one at every draw

    @model_validator(mode="before")
    @classmethod
    def _shares(cls, values: Any) -> Any:
        """Of a deal the sparsity follows, and of N:M everything: each of its groups is full."""
        own = n_of_m_sparsity(str(values.get("granularity"))) if isinstance(values, dict) else None
        if own is not None:
            values = {"scope": "global", "sparsity": own, **values}
        if isinstance(values, dict) and values.get("family", "anti-random") in ("anti-random", "partition"):
            dealt = values.get("family") == "partition"
            parts = values.get("parts", 2)
            if not dealt and parts != 2:
                raise LehrError(f"parts is {parts} and an anti-random pair has 2: choose the family partition")
            share = 1.0 - 1.0 / parts if isinstance(parts, int) and parts > 1 else 0.5
            given = values.get("sparsity")
            if given is not None and given != share and own is None:
                raise LehrError(
                    f"sparsity is {given} and {parts} parts leave {share:.4g} out of each: leave sparsity out, or choose the family random"
                )
            values = {**values, "sparsity": share if own is None else own}
        elif isinstance(values, dict) and values.get("parts", 2) != 2:
            raise LehrError(f"parts is {values['parts']} and the family {values['family']} has none: leave it out")
        return values

    @model_validator(mode="after")
    def _nothing_of_no_use(self) -> ChildSettings:
        if self.method == "dense":
            raise LehrError("method is dense and a child is a subnetwork: choose another, or a study of cycles")
        for name in ("score", "distribution"):
            if self.family != "magnitude" and getattr(self, name) != type(self).model_fields[name].default:
                raise LehrError(
                    f"{name} is {getattr(self, name)} and the family {self.family} has no use for it: leave it out"
                )
        return self

    @model_validator(mode="after")
    def _complement_of_a_pair(self) -> ChildSettings:
        if self.complement and self.family != "anti-random":
            raise LehrError(f"complement is of anti-random pairs and the family is {self.family}: leave one out")
        return self

    @property
    def deal(self) -> int:
        """The number of the deal that the member is of."""
        return self.child // self.parts if self.family in ("anti-random", "partition") else self.child

    @property
    def draw_seed(self) -> int:
        return self.seed + APART * (self.deal + 1)

    @property
    def path_seed(self) -> int:
        place = self.child % self.parts if self.family in ("anti-random", "partition") else 0
        return self.draw_seed + (0 if self.complement else SIBLING * place)

    @property
    def order_seed(self) -> int:
        return self.seed + APART * (self.child + 1) if self.order is None else self.order


class CycleSettings(TuneSettings):
    """A member of an ensemble found on the way: the network after so many cycles, each of which starts from the one before.

    Dense cycles of a falling rate are snapshots (1704.00109), short triangular ones fast geometric ensembling (1802.10026); with a `rate` every
    cycle prunes that share of what is left.
    """

    method: str = "dense"
    sparsity: float = 0.0
    cycle: int = Field(default=1, ge=1, strict=True)
    rate: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _sparsity_of_the_cycle(cls, values: Any) -> Any:
        if isinstance(values, dict):
            cycle, rate = values.get("cycle", 1), values.get("rate", 0.0)
            dense = values.get("method", "dense") == "dense"
            if dense == bool(rate):
                raise LehrError(
                    f"rate is {rate} and method {values.get('method', 'dense')}: give both to prune, or neither"
                )
            ok = isinstance(cycle, int) and isinstance(rate, (int, float)) and 0 <= rate < 1
            values = {**values, "sparsity": 1.0 - (1.0 - rate) ** cycle if ok else 0.0}
        return values

    @property
    def order_seed(self) -> int:
        return self.seed + APART * self.cycle if self.order is None else self.order
