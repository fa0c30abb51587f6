"""How an operation of torch is translated: a function for each, by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lehr.deploy import views
from lehr.deploy.views import View
from lehr.runtime.tensors import Stored


class Unknown(Exception):
    """An operation that is not translated."""


Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a translation for these operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def view_of(name: str, shape: tuple[int, ...]) -> View:
    """A view of a tensor (N, C), (N, T, C) or (N, C, H, W)."""
    if len(shape) == 4:
        return views.image(name, shape[0], shape[1], shape[2], shape[3])
    return rows_view(name, shape[:-1], shape[-1])


def rows_view(name: str, before: tuple[int, ...], channels: int) -> View:
    """A view of (N, C) or (N, T, C)."""
    return (
        views.tokens(name, before[0], before[1], channels)
        if len(before) == 2
        else views.features(name, before[0], channels)
    )


def pair(value: Any) -> list[int]:
    values = [value, value] if isinstance(value, int) else [int(n) for n in value]
    return values * 2 if len(values) == 1 else values


def stored_of(value: Any, what: str) -> Stored:
    if not isinstance(value, Stored):
        raise Unknown(f"its {what} is computed, not stored")
    return value


def name_of(value: Any, what: str) -> str | None:
    return None if value is None else stored_of(value, what).name
