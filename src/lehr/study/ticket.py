"""`ticket`: iterative magnitude pruning with rewinding, and its controls, as one small study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lehr.base.errors import LehrError, require, unknown
from lehr.base.steps import parse_length, spelled
from lehr.runs.settings import DROPS
from lehr.study.definition import Study
from lehr.study.file import study_of

MODES = {"weights": "weights", "rate": "rate", "fine-tune": "no"}
BRANCHES = ("shuffle", "invert", "reinit", "order", "shuffle-order", "anneal")
REWIND = "rewind:"  # and a step: a branch too
NAME = "ticket"
OTHER = 1000  # added to the seed of a branch that draws anew
FLAT = {"warmup": "0", "drops": ",".join(DROPS)}  # what a constant rate has none of
FINE = 100  # the rate of fine-tuning is that of training over this


def tickets(
    *,
    data: str,
    model: str,
    rounds: int,
    rate: float = 0.2,
    rewind: str = "0",
    mode: str = "weights",
    branches: Sequence[str] = (),
    seeds: int = 1,
    lr: float = 0.1,
    **settings: Any,
) -> Study:
    """The study of lottery tickets (1903.01611): a dense network, and levels that each prune what the level before has left.

    Args:
        data, model: what is trained.
        rounds: how many levels; more can be asked of the same folder later.
        rate: share of the remaining weights that goes at every level.
        rewind: step k to which levels go back, as ``0``, ``500it``, ``2ep`` or ``1ep100it``.
        mode: ``weights`` resets survivors to step k; ``rate`` keeps them and resets the learning rate; ``fine-tune`` keeps them, at a
            hundredth of the rate; all for the rest of the schedule.
        branches: controls at every level, ``order`` of the dense network being the usual one: ``shuffle`` has as many weights in each layer, elsewhere; ``invert`` has the smallest; ``reinit`` trains the
            mask from other weights; ``order`` trains the ticket in another order of the data, ``shuffle-order`` the shuffled mask; ``anneal`` goes
            back to step k with the rate alone and anneals the network into the mask (2401.08830); ``rewind:500it`` goes back to another step.
        seeds: how many; 0, 1, 2, ...
        lr: of the dense network, and of the levels unless they are fine-tuned.
        settings: any others, by their names in a study file.

    Raises:
        LehrError: a mode or branch does not exist, or a number is out of range.

    >>> study = tickets(data="mnist", model="lenet_300_100", rounds=2, rewind="500it", branches=["reinit"])
    >>> [(grid["row"], grid["level"]) for grid in study.grids]
    [('ticket', 2), ('reinit', [1, 2])]
    """
    rewind = spelled(rewind)
    require(type(rounds) is int and rounds >= 1, f"rounds is {rounds!r}: give a whole number from 1")
    require(seeds >= 1, f"seeds is {seeds}: give at least 1")
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    for branch in branches:
        if branch not in BRANCHES and not branch.startswith(REWIND):
            raise unknown("branch", branch, (*BRANCHES, f"{REWIND}STEP"))
        if branch.startswith(REWIND):
            step = branch.removeprefix(REWIND)
            parse_length(step, steps_per_epoch=10**6, total=10**9)  # raises where it is no step
            require(spelled(step) != rewind, f"{branch} is where the levels go back to anyway: leave it out")
    branches = [REWIND + spelled(b.removeprefix(REWIND)) if b.startswith(REWIND) else b for b in branches]
    require(len(set(branches)) == len(branches), f"the branches are {', '.join(branches)}: name each once")
    for branch in branches:
        if mode != "weights" and (branch == "reinit" or branch.startswith(REWIND)):
            raise LehrError(f"{branch} takes other weights and mode {mode} keeps those of training: leave one out")
    if mode == "fine-tune" and "anneal" in branches:
        raise LehrError(
            "anneal tunes at the rates of training and mode fine-tune at a hundredth of them: leave one out"
        )
    values: dict[str, Any] = {
        **settings, "data": data, "model": model, "rate": rate, "start": rewind, "rewind": MODES[mode], "kind": "ticket",
        "seed": list(range(seeds)), "lr": lr, "against": NAME,
    }  # fmt: skip
    if mode == "fine-tune":
        values |= {"ticket_lr": lr / FINE, "ticket_schedule": "constant"}
        values |= {f"ticket_{name}": usual for name, usual in FLAT.items() if name in settings}
    levels = list(range(1, rounds + 1))
    grids: list[dict[str, Any]] = [{"row": NAME, "level": rounds}]
    grids += [{"row": name, "level": levels, **own} for name in branches for own in _branch(name, seeds, values)]
    return study_of({**values, "grids": grids}, f"tickets of {Path(model).stem} on {data}")


def _branch(name: str, seeds: int, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings of a branch, and those of the levels before it; for each seed where it draws something anew."""
    if name.startswith(REWIND):
        return [{"start": name.removeprefix(REWIND), "after": {"start": values["start"]}}]
    if name == "anneal":
        changed = {"method": "temperature-annealing", "rewind": "rate"}
        return [{**changed, "after": {"method": "one-shot", "rewind": values["rewind"]}}]
    own: dict[str, Any] = (
        {"control": name.removesuffix("-order")} if name in ("shuffle", "invert", "shuffle-order") else {}
    )
    anew = {"reinit": "reinit", "order": "ticket_order", "shuffle-order": "ticket_order"}.get(name)
    return [own] if anew is None else [{**own, "seed": seed, anew: OTHER + seed} for seed in range(seeds)]
