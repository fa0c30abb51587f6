"""What a study can run many of; a new kind of run is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from lehr.base.errors import unknown
from lehr.base.registry import Registry
from lehr.base.steps import spelled
from lehr.recipes.choice import SELECTION
from lehr.recipes.method import DENSE, METHOD_SETTINGS, parse_method
from lehr.recipes.parent import INHERITED, parent_settings, parent_weights
from lehr.recipes.ticket import ticket
from lehr.recipes.train import train
from lehr.recipes.tune import tune, tune_settings
from lehr.runs import ChildSettings, CycleSettings, Settings, TicketSettings, TrainSettings, TuneSettings, validated
from lehr.runs.digest import weights_digest
from lehr.runs.folder import KINDS
from lehr.sparsify.method import methods

# What a run has in common with the run that it starts from, by the same name in a study file.
SHARED = (*INHERITED, "seed", "threads", "validate_every")
# Settings that several kinds have and that without a prefix are those of the run that comes first.
SCHEDULE = ("schedule", "warmup", "drops")
EARLIEST = ("epochs", "lr", *SCHEDULE, "accumulate")
S = TypeVar("S", bound=Settings)
Key = tuple[str, str]  # a kind of run, and a setting of it
FILLED = ("parent", "parent_digest", "parent_epochs", "keep")  # by the runs before and after, not by the file


@dataclass(frozen=True)
class Kind:
    """One kind of run.

    Args:
        name: in study files, and with an underscore the prefix of its own settings (``tune_lr``).
        settings: the class of its settings.
        run: does the run in a folder, or goes on with it, given validated settings and the parent's folder.
        parent: the kind of run that it starts from; None for one that starts from nothing.
        defaults: settings where the file has none.
        read: turns values of the file into settings (a method written with its options, say).
        title: a short readable text for folder names.
        free: settings in which two rows may differ and be compared all the same.
        shares: settings that it has in common with the run that it starts from, besides those that every kind shares.
        levels: a setting that counts runs of this kind, each starting from the one before, the first from `parent`.
        once: settings that only the last of them has, and those before it at their defaults.
        origin: the step at which it takes the weights of the first run of its chain; None for the end.
        member: a setting that numbers the members of one ensemble, which are rows of one name.
    """

    name: str
    settings: type[Settings]
    run: Callable[[Settings, Path, Path | None], None]
    parent: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[dict[str, Any]], dict[str, Any]] = dict
    title: Callable[[Settings], str] = lambda settings: type(settings).__name__
    free: frozenset[str] = frozenset({"lr"})
    shares: tuple[str, ...] = ()
    levels: str | None = None
    once: tuple[str, ...] = ()
    origin: Callable[[Settings], str | None] = lambda settings: None
    member: str | None = None

    @property
    def own(self) -> tuple[str, ...]:
        """The names of its settings that a file may set."""
        return tuple(name for name in self.settings.model_fields if name not in FILLED)


kinds: Registry[Kind] = Registry("kind of run")
"""Every kind of run by name."""


def lineage(kind: Kind) -> list[Kind]:
    """The kind and those it starts from, the first one last."""
    return [kind] if kind.parent is None else [kind, *lineage(kinds[kind.parent])]


def divided(kind: Kind, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of a run and of those it starts from, out of the flat settings of a study file.

    ``tune_lr`` is the rate of a tuning run and ``lr`` that of its parent; a name that only one of
    them has needs no prefix; data, network, batch, optimizer, seed and threads go to all of them.

    >>> tuned, dense = divided(kinds["tune"], {"seed": 1, "lr": 0.1, "tune_lr": 0.2, "sparsity": 0.9})
    >>> tuned["lr"], tuned["sparsity"], tuned["seed"], dense["lr"], dense["seed"], "sparsity" in dense
    (0.2, 0.9, 1, 0.1, 1, False)
    """
    parts: dict[str, dict[str, Any]] = {one.name: dict(one.defaults) for one in lineage(kind)}
    resolved = {name: resolve(kind, name) for name in values}
    shared_first = sorted(values, key=lambda name: len(resolved[name]), reverse=True)  # what is prefixed goes over it
    for name in shared_first:
        for holder, field_name in resolved[name]:
            parts[holder][field_name] = values[name]
    return list(parts.values())


def resolve(kind: Kind, name: str) -> list[Key]:
    """The settings that a name in a study file means, the run's own first.

    Raises:
        LehrError: there is no such setting.

    >>> resolve(kinds["tune"], "tune_lr"), resolve(kinds["tune"], "lr"), resolve(kinds["tune"], "seed")
    ([('tune', 'lr')], [('train', 'lr')], [('tune', 'seed'), ('train', 'seed')])
    """
    line = lineage(kind)
    for one in line:
        rest = name[len(one.name) + 1 :]
        if name.startswith(f"{one.name}_") and rest in one.own:
            return [(one.name, rest)]
    holders = [(one.name, name) for one in line if name in one.own]
    if not holders:
        prefixed = [f"{one.name}_{field_name}" for one in line for field_name in EARLIEST if one.parent]
        raise unknown("study setting", name, [*{field_name for one in line for field_name in one.own}, *prefixed])
    if name in SHARED or name in kind.shares:
        return holders
    return holders[-1:] if name in EARLIEST else holders[:1]


CHOICE = ("sparsity", *SELECTION)  # what a network that is left dense has none of


def _train(settings: Settings, path: Path, parent: Path | None) -> None:
    assert isinstance(settings, TrainSettings), "its own class"
    train(settings, path, resume=True)


def _tune(settings: Settings, path: Path, parent: Path | None) -> None:
    assert parent is not None, "a tuning run has one"
    tune(tune_settings(parent, settings.model_dump(exclude=set(FILLED))), path, resume=True)


def _member(settings: Settings, path: Path, parent: Path | None) -> None:
    assert parent is not None, "a member has one"
    assert isinstance(settings, TuneSettings), "its own class"
    base = parent_settings(parent)
    epochs = {} if base is None or base.parent is not None else {"parent_epochs": base.epochs}
    tune(started(settings, parent).model_copy(update=epochs), path, resume=True)


def started(settings: S, parent: Path) -> S:
    """The settings with the folder of the parent, and the digest of its weights."""
    return settings.model_copy(update={"parent": str(parent), "parent_digest": weights_digest(parent_weights(parent))})


def _numbered(settings: Settings) -> str:
    if isinstance(settings, CycleSettings):
        return f"cycle-{settings.cycle}"
    assert isinstance(settings, ChildSettings), "its own class"
    return f"{settings.family}-{settings.child}"


def _ticket(settings: Settings, path: Path, parent: Path | None) -> None:
    assert parent is not None, "a ticket has one"
    assert isinstance(settings, TicketSettings), "its own class"
    ticket(started(settings, parent), path, resume=True)


def _level(settings: Settings) -> str:
    assert isinstance(settings, TicketSettings), "its own class"
    words = (
        (True, f"level-{settings.level}"),
        (spelled(settings.start) != "0", f"from-{spelled(settings.start)}"),
        (settings.rewind == "rate", "rate"),
        (settings.rewind == "no", "fine-tune"),
        (settings.method != "one-shot", settings.method),
        (settings.control != "none", settings.control),
        (settings.reinit is not None, "reinit"),
        (settings.order is not None, "order"),
    )
    return "-".join(word for told, word in words if told)


def _rewound(settings: Settings) -> str | None:
    assert isinstance(settings, TicketSettings), "its own class"
    return settings.start if settings.rewind == "weights" and settings.reinit is None else None


def _method(values: dict[str, Any]) -> dict[str, Any]:
    """A method written with its options, apart; without the axes of a grid that the method has no use for."""
    name, options = parse_method(str(values["method"]))
    accepted = set() if name == DENSE else set(signature(methods[name]).parameters)
    foreign = {setting for parameter, setting in METHOD_SETTINGS.items() if parameter not in accepted} - {"scope"}
    if "steps" not in accepted:
        foreign |= {"anneal", "inactive", "restart"}
    if name == DENSE:
        foreign |= {*CHOICE, "probe"}
    return {key: value for key, value in values.items() if key not in foreign} | {"method": name} | options


def _cycled(values: dict[str, Any]) -> dict[str, Any]:
    """As `_method`; what a dense cycle has no use for goes with it."""
    read = _method(values)
    return {**read, "rate": values["rate"]} if "rate" in values else read


def _tuned(settings: Settings) -> str:
    assert isinstance(settings, TuneSettings), "its own class"
    return settings.method if settings.method == DENSE else f"{settings.method}-{settings.sparsity:g}"


def add_kind(kind: Kind) -> Kind:
    """Make a kind of run known, to studies and to run folders."""
    KINDS.setdefault(kind.name, kind.settings)
    return kinds.add(kind.name, kind)


add_kind(Kind("train", TrainSettings, _train, defaults={"epochs": 20}, title=lambda settings: "dense"))
add_kind(
    Kind(
        "tune", TuneSettings, _tune, "train", {"epochs": 20, "method": "one-shot"}, _method, _tuned,
        frozenset({"lr", "method", "sparsity", "anneal", "inactive", "restart", "probe", *METHOD_SETTINGS.values()}),
    )
)  # fmt: skip


MEMBERS = frozenset({"child", "family", "parts", "complement", "cycle", "rate", *SCHEDULE, "epochs"})
for added in (
    Kind("child", ChildSettings, _member, "train", {"epochs": 10, "method": "one-shot"}, _method, _numbered,
         kinds["tune"].free | MEMBERS, member="child"),
    Kind("cycle", CycleSettings, _member, "train", {"epochs": 10, "cycle": 1, "method": DENSE}, _cycled, _numbered,
         kinds["tune"].free | MEMBERS, levels="cycle", member="cycle"),
):  # fmt: skip
    add_kind(added)


TICKETS = {"epochs": 20, "level": 1, "method": "one-shot"}
add_kind(
    Kind(
        "ticket", TicketSettings, _ticket, "train", TICKETS, _method, _level,
        frozenset({
            "level", "sparsity", "rate", "start", "rewind", "control", "reinit", "order", "lr", *SCHEDULE, "method", "score",
            *METHOD_SETTINGS.values(),
        }),
        shares=EARLIEST, levels="level", once=("control", "reinit", "order"), origin=_rewound,
    )
)  # fmt: skip


def settings_of(kind: Kind, values: Mapping[str, Any], parent: str) -> Settings:
    """Validated settings of a run whose parent is not trained yet, and goes by its name in the study."""
    given = {"parent": "", "parent_digest": parent} if kind.parent else {}
    return validated(kind.settings, {**values, **given})
