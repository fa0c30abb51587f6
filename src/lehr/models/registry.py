"""The networks by name."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path

from torch import nn

from lehr.base.errors import LehrError
from lehr.base.registry import Registry

InputShape = tuple[int, int, int]
Factory = Callable[..., nn.Module]

models: Registry[Factory] = Registry("model")
"""Factories ``(num_classes, input_shape) -> nn.Module`` by name."""


def create(name: str, num_classes: int = 10, input_shape: InputShape | None = None) -> nn.Module:
    """A freshly initialised network: a built-in one, or the user's own as ``path/to/file.py:factory``.

    Args:
        name: a name in `models`, or a Python file and a callable in it.
        num_classes: outputs of the head.
        input_shape: channels, height, width; None for what the network was published with.

    A user's factory gets whichever of ``num_classes`` and ``input_shape`` it has parameters for.

    >>> sum(p.numel() for p in create("resnet20").parameters())
    269722
    """
    factory = _from_file(name) if ".py" in name else models[name]
    accepted = inspect.signature(factory).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    offered = {"num_classes": num_classes, "input_shape": input_shape}
    options = {k: v for k, v in offered.items() if v is not None and (k in accepted or anything)}
    try:
        model = factory(**options)
    except LehrError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise LehrError(f"{name} cannot be built ({type(error).__name__}: {error}): mend the factory") from error
    if not isinstance(model, nn.Module):
        raise LehrError(f"{name} gave a {type(model).__name__}: the factory must return a torch.nn.Module")
    return model


def _from_file(reference: str) -> Factory:
    path, _, attribute = reference.rpartition(":")
    if not path.endswith(".py") or not attribute:
        raise LehrError(f"the model {reference!r} is not understood: write path/to/file.py:factory")
    file = Path(path)
    if not file.is_file():
        raise LehrError(f"there is no file {path}: write path/to/file.py:factory")
    spec = importlib.util.spec_from_file_location(f"lehr_user_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        raise LehrError(f"{path} cannot be imported ({type(error).__name__}: {error}): mend it first") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        known = [name for name, thing in vars(module).items() if callable(thing) and not name.startswith("_")]
        raise LehrError(f"{path} has no callable {attribute!r}: it has {', '.join(sorted(known)) or 'none'}")
    result: Factory = factory
    return result
