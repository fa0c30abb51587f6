"""The method that settings name, as it is written on the command line, and how long it anneals."""

from __future__ import annotations

from inspect import signature
from typing import Any

from lehr.base.errors import LehrError, require, unknown
from lehr.base.steps import parse_length
from lehr.masks import Mask
from lehr.masks.selection import REMEDY, check_layers
from lehr.runs import ChildSettings, TicketSettings, TuneSettings
from lehr.sparsify.method import Method, methods

DENSE = "dense"  # the control: the whole network, tuned for as long

# A method's parameter, and the setting that gives it.
METHOD_SETTINGS = {
    "tau": "tau",
    "schedule": "tau_schedule",
    "all_weights": "all_weights",
    "by_layer": "tau_by_layer",
    "target": "target",
    "scope": "scope",
    "reselect_every": "reselect_every",
    "redraw_every": "redraw_every",
    "realise": "realise",
    "drop": "drop",
    "cycles": "cycles",
}

SMOOTHING = ("smooth", "smooth_for", "label_smoothing", "softness", "skip")
RETRAINING = ("distill", "distill_temperature", "average", "bn_batches", *SMOOTHING)

# What a row of a comparison may set for itself; all else is the same for every row.
ROW_OPTIONS = (
    *METHOD_SETTINGS.values(), "inactive", "restart", "anneal", "score", "distribution", *RETRAINING,
)  # fmt: skip


def parse_method(text: str) -> tuple[str, dict[str, str]]:
    """A method and its options, as written on the command line.

    >>> parse_method("temperature-annealing:target=moving:tau=1")
    ('temperature-annealing', {'target': 'moving', 'tau': '1'})
    """
    name, *pairs = text.split(":")
    if name != DENSE:
        methods[name]  # raises with the nearest name
    options = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not value:
            raise LehrError(f"the option {pair!r} of {name} is not understood: write {name}:tau=0.5:target=moving")
        if key not in ROW_OPTIONS:
            raise unknown("option of a method", key, ROW_OPTIONS)
        if key in options:
            raise LehrError(f"{text} sets {key} twice: leave one out")
        options[key] = value
    return name, options


def build_method(settings: TuneSettings, mask: Mask, steps: int, within: Mask | None = None) -> Method:
    """The method that the settings name, with those of its parameters that they set.

    Where a family deals the weights, as to a pair and its complement, the target is fixed.

    A setting that the method has no parameter for, and that is not at its default, is refused, and so is a mask that leaves a
    layer empty, unless the method chooses again.
    """
    factory = methods[settings.method]
    accepted = signature(factory).parameters
    options: dict[str, Any] = {"seed": settings.path_seed, "within": within}
    if "steps" in accepted:
        options["steps"] = steps
    for parameter, field in METHOD_SETTINGS.items():
        value = getattr(settings, field)
        if parameter in accepted:
            if value is not None:
                options[parameter] = value
        elif value != TuneSettings.model_fields[field].default and field != "scope":  # the selection has it too
            raise LehrError(
                f"{settings.method} has no {field.replace('_', ' ')}: leave it out, or choose another method"
            )
    family = settings.family if isinstance(settings, ChildSettings) else "magnitude"  # which deals nothing
    if family != "magnitude" and "target" in accepted:
        options.setdefault("target", "fixed")
    method = factory(mask, **options)
    if family != "magnitude" and method.moving:
        how = f"{settings.method} with target moving" if "target" in accepted else settings.method
        raise LehrError(
            f"method is {how}, which chooses weights again, and the family {family} deals them: choose "
            "one-shot, iterative, gradual, random- or temperature-annealing with a fixed target, or the family magnitude"
        )
    if not method.fills:
        levels = "take fewer rounds, a lower rate or --scope layer"
        check_layers(mask, settings.sparsity, levels if isinstance(settings, TicketSettings) else REMEDY)
    # Of a pair the second is what the first leaves out; the first draws as it would alone.
    return (
        method.mirror()
        if isinstance(settings, ChildSettings) and settings.complement and settings.child % 2
        else method
    )


def annealing_steps(settings: TuneSettings, per_epoch: int, total: int) -> int:
    """The length of the annealing phase in optimizer steps, checked to fit in the run."""
    steps = parse_length(settings.anneal, steps_per_epoch=per_epoch, total=total)
    require(
        steps <= total,
        f"annealing for {settings.anneal} is {steps} steps and the run has {total}: shorten it or add epochs",
    )
    return steps
