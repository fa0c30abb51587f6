"""Seeing each call of a network without leaving a trace on it.

`torch.nn.Module.__call__` hands over to ``_compiled_call_impl`` where an instance has one (that is
how ``module.compile()`` works), and copying or pickling a module drops the attribute. So a network
can be watched with no hook in its ``state_dict``, its copies or its pickles, and what we do runs
outside the compiled graph instead of being traced into it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

ATTRIBUTE = "_compiled_call_impl"
Around = Callable[[], AbstractContextManager[None]]


class Interceptor:
    """Runs each call of `module` inside the context manager that `around()` gives.

    >>> from contextlib import contextmanager
    >>> calls = []
    >>> @contextmanager
    ... def count():
    ...     calls.append(1)
    ...     yield
    >>> layer = nn.Linear(1, 1)
    >>> watch = Interceptor(layer, count)
    >>> _ = layer(torch.zeros(1)); watch.remove(); _ = layer(torch.zeros(1)); len(calls)
    1
    """

    def __init__(self, module: nn.Module, around: Around) -> None:
        self.module = module
        self.around = around
        self.compiled = getattr(module, ATTRIBUTE, None)
        # Our own part is not traced; the network that `_watched_call` calls is, hence recursive=False.
        # (Applied here and not as decorators: the compiler takes a second to import.)
        self._run = torch.compiler.disable(self._watched_call, recursive=False)  # type: ignore[no-untyped-call]
        self._open = torch.compiler.disable(_open)  # type: ignore[no-untyped-call]
        self._close = torch.compiler.disable(_close)  # type: ignore[no-untyped-call]
        setattr(module, ATTRIBUTE, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_exporting():
            return self._inner()(*args, **kwargs)
        return self._run(*args, **kwargs)

    def _inner(self) -> Callable[..., Any]:
        return self.compiled or self.module._call_impl

    def _watched_call(self, *args: Any, **kwargs: Any) -> Any:
        graded, context = torch.is_grad_enabled(), None
        try:
            context = self._open(self.around)
            result = self._inner()(*args, **kwargs)
        except BaseException as error:
            # An interruption inside of torch's own context managers would leave gradients off for good.
            torch._C._set_grad_enabled(graded)
            if context is not None:
                self._close(context, error)
            raise
        self._close(context, None)
        return result

    def remove(self) -> None:
        """Leave the module as it was found."""
        if self.compiled is not None:
            setattr(self.module, ATTRIBUTE, self.compiled)
        elif getattr(self.module, ATTRIBUTE, None) is self:
            delattr(self.module, ATTRIBUTE)


def _open(around: Around) -> AbstractContextManager[None]:
    context = around()
    context.__enter__()
    return context


def _close(context: AbstractContextManager[None], error: BaseException | None) -> None:
    context.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


def watched(module: nn.Module) -> bool:
    """Whether an interceptor sits on this module already."""
    return isinstance(getattr(module, ATTRIBUTE, None), Interceptor)
