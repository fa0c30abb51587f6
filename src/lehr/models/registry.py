"""The networks by name."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from lehr.base.errors import LehrError, unknown
from lehr.base.registry import Registry

Shape = tuple[int, ...]
LIBRARIES = ("torchvision", "timm")
Factory = Callable[..., nn.Module]

models: Registry[Factory] = Registry("model")
"""Factories by name; each has parameters for what it must know of the data, see `create`."""

families: Registry[Callable[[str], Factory | None]] = Registry("family of models")
"""Functions from a name with numbers in it, such as ``wrn_28_10``, to a factory."""


def create(name: str, **sizes: Any) -> nn.Module:
    """A freshly initialised network: a built-in one, one of ``torchvision:resnet50`` or ``timm:resnet50``, or the user's own.

    ``mimo-3:NAME``, ``batch-ensemble-4:NAME``, ``tree-3:NAME`` and ``dropout-0.1:NAME`` make an ensemble of any of them (`lehr.models.wrappers`).

    Args:
        name: a name in `models`, of one of the `families`, of a library, or a Python file and a callable in it, ``path/to/file.py:factory``.
        sizes: what the network must know of the data (`Dataset.sizes`): ``num_classes``, and
            ``input_shape``, the shape of one input, for images (channels, height, width); for texts
            also ``vocabulary``, the number of tokens, and ``context``, the longest input.

    A factory gets whichever of them it has parameters for.

    >>> sum(p.numel() for p in create("resnet20", num_classes=10).parameters())
    269722
    """
    factory = known(name)
    accepted = inspect.signature(factory).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    options = {k: v for k, v in sizes.items() if v is not None and (k in accepted or anything)}
    if ":" not in name and sizes.get("input_shape") is not None:
        reads_text, has_text = "vocabulary" in accepted, sizes.get("vocabulary") is not None
        if reads_text != has_text:
            raise LehrError(
                f"{name} reads {'tokens' if reads_text else 'images'} and the data holds "
                f"{'text' if has_text else 'images'}: choose another model or other data"
            )
        if has_text and "num_classes" not in accepted and sizes["num_classes"] != sizes["vocabulary"]:
            raise LehrError(f"{name} predicts the next token and the data has classes: choose text_encoder")
        if has_text and "num_classes" in accepted and sizes["num_classes"] == sizes["vocabulary"]:
            raise LehrError(f"{name} classifies and the data is for language modelling: choose gpt_mini")
    try:
        model = factory(**options)
    except LehrError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise LehrError(f"{name} cannot be built ({type(error).__name__}: {error}): mend the factory") from error
    if not isinstance(model, nn.Module):
        raise LehrError(f"{name} gave a {type(model).__name__}: the factory must return a torch.nn.Module")
    return model


def known(name: str) -> Factory:
    """The factory that a name means; a user's file is run to find it.

    >>> known("wrn_28_10") is not None
    True
    """
    if ".py" in name.partition(":")[0]:
        return _from_file(name)
    prefix, colon, own = name.partition(":")
    if not colon:
        return _built_in(name)
    return _wrapped(prefix, own) if prefix not in LIBRARIES and "-" in prefix else _from_library(prefix, own)


def _wrapped(prefix: str, name: str) -> Factory:
    """A network that is an ensemble by itself, such as ``mimo-3:resnet20``, out of one that is none."""
    from lehr.models.wrappers import wrappers

    kind, _, text = prefix.rpartition("-")
    wrapper = wrappers[kind]
    try:
        number = float(text)
    except ValueError:
        raise LehrError(f"the model {prefix}:{name} is not understood: write {kind}-3:resnet20") from None
    make = known(name)

    def factory(**sizes: Any) -> nn.Module:
        accepted = inspect.signature(make).parameters
        anything = any(p.kind is p.VAR_KEYWORD for p in accepted.values())

        def plain(**more: Any) -> nn.Module:
            return make(**{key: value for key, value in more.items() if key in accepted or anything})

        return wrapper(plain, number, sizes)

    return factory


def _from_library(library: str, name: str) -> Factory:
    """A network of torchvision or timm, with fresh weights; both are the user's to install."""
    if library not in LIBRARIES:
        raise unknown("library of models", library, LIBRARIES)
    try:
        module = importlib.import_module("torchvision.models" if library == "torchvision" else library)
    except Exception as error:  # an installation may be broken in any way
        raise LehrError(
            f"{library} cannot be imported ({type(error).__name__}: {error}): install one that goes with this torch"
        ) from error
    # Of torchvision only what classifies: other networks bring pretrained parts with them.
    names = module.list_models(module=module) if library == "torchvision" else module.list_models()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "its list_models() has the names"
        raise LehrError(f"there is no network {name!r} in {library}: {hint}")

    def factory(num_classes: int, input_shape: Shape) -> nn.Module:
        made: nn.Module
        if library == "timm":
            made = module.create_model(name, pretrained=False, num_classes=num_classes, in_chans=input_shape[0])
        else:  # GoogLeNet and Inception give several outputs while they train unless told otherwise
            alone = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
            made = module.get_model(name, weights=None, num_classes=num_classes, **alone)
        return made

    return factory


def _built_in(name: str) -> Factory:
    if name not in models:
        for family in families.values():
            factory = family(name)
            if factory is not None:
                return factory
        raise unknown("model", name, [*models, *families])
    return models[name]


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
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(file.parent.resolve()))  # as for a script: its neighbours can be imported
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        raise LehrError(f"{path} cannot be imported ({type(error).__name__}: {error}): mend it first") from error
    finally:
        sys.path.remove(str(file.parent.resolve()))
    factory = getattr(module, attribute, None)
    if not callable(factory):
        known = [name for name, thing in vars(module).items() if callable(thing) and not name.startswith("_")]
        raise LehrError(f"{path} has no callable {attribute!r}: it has {', '.join(sorted(known)) or 'none'}")
    result: Factory = factory
    return result
